//! Explores all configurations, or those named on the command line, and prints what was visited.

use std::process::ExitCode;

use ticketd_model::{Configuration, Ending, Limits, Report, configurations, explore};

/// States visited of each configuration, unless the command line says otherwise. This bounds the memory: 50
/// to 180 bytes for each.
const STATES_MAX: usize = 20_000_000;

const USAGE: &str = "usage: ticketd-model [--deep] [--states NUMBER] [--depth NUMBER] [CONFIGURATION...]";

/// What the command line asks for.
struct Options {
    limits: Limits,
    /// With the larger bounds.
    deep: bool,
    /// All configurations if none is named.
    names: Vec<String>,
}

fn main() -> ExitCode {
    let Options { limits, deep, names } = match arguments() {
        Ok(arguments) => arguments,
        Err(text) => {
            eprintln!("{text}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    // A panic of the core is a violation and is reported as such; a panic of the explorer is its own bug.
    std::panic::set_hook(Box::new(|panic| {
        if !panic.location().is_some_and(|location| location.file().contains("raft-core")) {
            eprintln!("{panic}");
        }
    }));
    println!(
        "{:12} {:>6} {:>10} {:>11} {:>10} {:>8} {:>6}",
        "", "depth", "states", "steps", "beyond", "seconds", "MiB"
    );
    let mut code = ExitCode::SUCCESS;
    let is_usual = !deep && limits.states == STATES_MAX && limits.depth == usize::MAX;
    for configuration in configurations() {
        if !names.is_empty() && !names.iter().any(|name| name == configuration.name) {
            continue;
        }
        let configuration = if deep { configuration.deep() } else { configuration };
        reset_peak();
        match explore(&configuration, limits) {
            Ok(report) => {
                print(&configuration, &report);
                // Only a limit that was asked for may leave anything out.
                if report.ending == Ending::Limited && is_usual {
                    code = ExitCode::FAILURE;
                }
            }
            Err(counterexample) => {
                println!("{}: violated\n{counterexample}", configuration.name);
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}

fn print(configuration: &Configuration, report: &Report) {
    let Report { states, steps, beyond, depth, ending, took } = report;
    let ending = match ending {
        Ending::Complete => "complete",
        Ending::Limited => "limited",
    };
    println!(
        "{:12} {depth:6} {states:10} {steps:11} {beyond:10} {:8.1} {:>6} {ending}: {}",
        configuration.name,
        took.as_secs_f64(),
        peak_mib().map_or_else(|| "?".to_owned(), |mib| mib.to_string()),
        configuration.about
    );
}

/// Resets the peak of memory use to the current use. If the system cannot, the peak remains that of the whole
/// run.
fn reset_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// The peak memory use, as reported by Linux.
fn peak_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    kib.trim().trim_end_matches("kB").trim().parse::<u64>().ok().map(|kib| kib / 1024)
}

fn arguments() -> Result<Options, String> {
    let known: Vec<_> = configurations().iter().map(|c| c.name).collect();
    let mut limits = Limits { states: STATES_MAX, depth: usize::MAX };
    let mut names = Vec::new();
    let mut deep = false;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || {
            let number = arguments.next().and_then(|text| text.parse::<usize>().ok());
            number.ok_or_else(|| format!("{argument} is followed by a number"))
        };
        match argument.as_str() {
            "--deep" => deep = true,
            "--states" => limits.states = number()?,
            "--depth" => limits.depth = number()?,
            name if known.contains(&name) => names.push(argument),
            _ => return Err(format!("{argument} is not one of: {}", known.join(", "))),
        }
    }
    Ok(Options { limits, deep, names })
}
