//! Python with packages from PyPI, in a folder of its own below the target folder that is made once.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The interpreter of an environment with these packages; why there is none otherwise.
pub fn with(name: &str, packages: &[&str]) -> Result<PathBuf, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let lock = File::create(folder.join(format!("python-{name}.lock"))).map_err(|error| error.to_string())?;
    lock.lock().map_err(|error| error.to_string())?; // another test may make it now
    let environment = folder.join(format!("python-{name}"));
    let (python, done) = (environment.join("bin/python"), environment.join("packages"));
    let wanted = packages.join(" ");
    if fs::read_to_string(&done).is_ok_and(|made| made == wanted) && python.exists() {
        return Ok(python);
    }
    run("python3 -m venv", Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
    let mut install = Command::new(&python);
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--timeout", "20"]);
    run("pip install", install.args(packages))?;
    fs::write(done, wanted).map_err(|error| error.to_string())?;
    Ok(python)
}

fn run(what: &str, command: &mut Command) -> Result<Output, String> {
    let output = command.output().map_err(|error| format!("{what}: {error}"))?;
    if output.status.success() {
        return Ok(output);
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).trim().lines().last().unwrap_or_default().to_owned();
    Err(format!("{what} fails: {said}"))
}

/// Runs a script of `tests/python`; what it printed.
pub fn script(python: &Path, script: &str, arguments: &[&str]) -> String {
    script_in(python, script, arguments, &[])
}

/// The same with these variables in its environment.
pub fn script_in(python: &Path, script: &str, arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/python").join(script);
    let mut command = Command::new(python);
    command.env("PYTHONDONTWRITEBYTECODE", "1").envs(environment.iter().copied()).arg(path).args(arguments);
    let output = command.output().expect("python starts");
    let (said, complaint) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script} {arguments:?}: {}\n{said}\n{complaint}", output.status);
    said.into_owned()
}
