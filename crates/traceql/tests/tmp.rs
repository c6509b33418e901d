use trackway_traceql::*;
#[test]
fn m() {
    for (label, text) in [
        ("not", format!("{{ {}.a = 1{} }}", "!(".repeat(99), ")".repeat(99))),
        ("eq", format!("{{ {}.a{} }}", "1 = (".repeat(99), ")".repeat(99))),
        ("par", format!("{{ {}.a{} }}", "(".repeat(195), ")".repeat(195))),
        ("spar", format!("{}{{}}{}", "(".repeat(195), ")".repeat(195))),
        ("span", format!("{}{{ }}{}", "({ } >> (".repeat(99), "))".repeat(99))),
    ] {
        for what in ["parse", "print", "debug", "check"] {
            let mut kb = 64;
            loop {
                let out = std::process::Command::new(std::env::current_exe().unwrap()).args(["--exact","child","--nocapture"]).env("T", &text).env("W", what).env("KB", kb.to_string()).stderr(std::process::Stdio::null()).output().unwrap();
                if out.status.success() { break }
                kb += 128; if kb > 4096 { break }
            }
            println!("{label} {what} {kb}");
        }
    }
}
#[test]
fn child() {
    let Ok(t) = std::env::var("T") else { return };
    let w = std::env::var("W").unwrap();
    let kb: usize = std::env::var("KB").unwrap().parse().unwrap();
    let q = if w == "parse" { None } else { Some(std::thread::Builder::new().stack_size(64<<20).spawn({let t=t.clone(); move || parse_unchecked(&t).unwrap()}).unwrap().join().unwrap()) };
    std::thread::Builder::new().stack_size(kb << 10).spawn(move || {
        match w.as_str() {
            "parse" => { std::mem::forget(parse_unchecked(&t)); }
            "print" => { let s = q.as_ref().unwrap().to_string(); println!("{}", s.len()); }
            "debug" => { let s = format!("{:?}", q.as_ref().unwrap()); println!("{}", s.len()); }
            _ => { let _ = check(q.as_ref().unwrap()); }
        }
        std::mem::forget(q);
    }).unwrap().join().unwrap();
}
