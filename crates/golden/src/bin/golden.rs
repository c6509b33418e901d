//! `golden --format v4 --api 127.0.0.1:3200 --otlp 127.0.0.1:4318 [--zipkin 127.0.0.1:9411] [--group NAME ...]
//! [--answers FILE] [--show N]`: asks a running server the recorded questions; exit status 1 when an answer is wrong,
//! 2 when nothing could be asked.
#![allow(clippy::print_stdout)] // printing the report is what this program is for
#![allow(clippy::print_stderr)] // and saying why it cannot

use std::path::PathBuf;
use std::process::ExitCode;

use trackway_golden::{Endpoints, folder, load, run};

struct Asked {
    answers: PathBuf,
    at: Endpoints,
    groups: Vec<String>,
    show: usize,
}

fn main() -> ExitCode {
    let asked = match arguments(std::env::args().skip(1)) {
        Ok(asked) => asked,
        Err(why) => {
            eprintln!("golden: {why}");
            return ExitCode::from(2);
        }
    };
    let questions = match load(&asked.answers) {
        Ok(questions) => questions,
        Err(error) => {
            eprintln!("golden: {}: {error}", asked.answers.display());
            return ExitCode::from(2);
        }
    };
    let mut report =
        run(&questions, |q| asked.groups.is_empty() || asked.groups.contains(&q.group), &asked.at);
    report.show = asked.show;
    print!("{report}");
    if report.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn arguments(mut given: impl Iterator<Item = String>) -> Result<Asked, String> {
    let (mut format, mut answers) = ("v4".to_owned(), None);
    let mut at =
        Endpoints { api: "127.0.0.1:3200".to_owned(), otlp: "127.0.0.1:4318".to_owned(), zipkin: None };
    let (mut groups, mut show) = (Vec::new(), 20);
    while let Some(argument) = given.next() {
        let (name, value) = match argument.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (argument, given.next()),
        };
        let value = value.ok_or_else(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--format" => format = value,
            "--answers" => answers = Some(PathBuf::from(value)),
            "--api" => at.api = value,
            "--otlp" => at.otlp = value,
            "--zipkin" => at.zipkin = Some(value),
            "--group" => groups.push(value),
            "--show" => show = value.parse().map_err(|_| format!("--show {value} is not a number"))?,
            _ => return Err(format!("unknown argument {name}")),
        }
    }
    let answers = answers.unwrap_or_else(|| folder(&format).join("answers.jsonl.gz"));
    Ok(Asked { answers, at, groups, show })
}
