//! `ticketd-sim`: runs seeds.

use std::process::ExitCode;

use ticketd_sim::{Limits, Narration, run};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let number = |at: usize| args.get(at).and_then(|a| a.parse::<u64>().ok());
    let from = number(1).unwrap_or(1);
    let count = number(2).unwrap_or(1);
    let told = if args.get(3).is_some_and(|a| a == "f") { Narration::Frames } else if args.get(3).is_some() { Narration::Told } else { Narration::Silent };
    if told == Narration::Silent { std::panic::set_hook(Box::new(|info| { if let Some(l)=info.location() { if !l.file().contains("sim/src") || !format!("{info}").contains("violated") { eprintln!("at {l}"); } } })); }
    let started = std::time::Instant::now();
    let (mut events, mut us, mut failed, mut answered, mut rec) = (0, 0, 0, 0, 0);
    for seed in from..from + count {
        match run(seed, &Limits::default(), told) {
            Ok(s) => { events += s.events; us += s.simulated_us; answered += s.answered; rec = rec.max(s.recovery_timeouts); if told != Narration::Silent { println!("{s:?}"); } }
            Err(e) => { failed += 1; println!("seed {seed}: {e}"); }
        }
    }
    let t = started.elapsed().as_secs_f64();
    println!("{count} seeds, {failed} failed, {events} events in {t:.1}s = {:.0}/s, {} s simulated, {answered} answered, rec {rec}", events as f64 / t, us / 1_000_000);
    ExitCode::SUCCESS
}
