//! `ticketd-sim`: runs clusters from seeds, and shrinks those that fail.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use ticketd_sim::{FAULTS, Fault, Limits, Narration, Summary, keep_panics_quiet, run, shrink};

const USAGE: &str = "\
usage: ticketd-sim [--seed N | --seeds N --from N] [--threads N] [--first] [--no-shrink]
                   [--members N] [--faults N] [--skip N,N] [--without KIND,KIND] [--told | --frames]

  --seed N      one run, told line by line
  --seeds N     this many runs (10000), from --from (1) on
  --threads N   as many at once (one for each processor)
  --first       stop at the first failure
  --no-shrink   do not make failures smaller
  --members N   at most this many nodes at first
  --faults N    nothing goes wrong from fault N on
  --skip N,N    these faults do not happen
  --without K,K these kinds of faults do not happen
  --told        say what happens; --frames: and what is sent";

/// What the command line asks for.
struct Options {
    from: u64,
    seeds: u64,
    threads: usize,
    first: bool,
    shrinks: bool,
    narration: Narration,
    limits: Limits,
}

fn main() -> ExitCode {
    match parse(std::env::args().skip(1)) {
        Ok(options) => carry_out(&options),
        Err(wrong) => {
            eprintln!("{wrong}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Options, String> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut options = Options {
        from: 1,
        seeds: 10_000,
        threads,
        first: false,
        shrinks: true,
        narration: Narration::Silent,
        limits: Limits::default(),
    };
    while let Some(option) = args.next() {
        let mut value = || args.next().ok_or(format!("{option} wants a value"));
        match option.as_str() {
            "--seed" => {
                (options.from, options.seeds) = (number(&value()?)?, 1);
                options.narration = Narration::Told;
            }
            "--seeds" => options.seeds = number(&value()?)?,
            "--from" => options.from = number(&value()?)?,
            "--threads" => options.threads = number::<usize>(&value()?)?.max(1),
            "--first" => options.first = true,
            "--no-shrink" => options.shrinks = false,
            "--members" => options.limits.members_max = Some(number(&value()?)?),
            "--faults" => options.limits.faults_max = Some(number(&value()?)?),
            "--skip" => options.limits.skip = value()?.split(',').map(number).collect::<Result<_, _>>()?,
            "--without" => {
                options.limits.without = value()?.split(',').map(kind).collect::<Result<_, _>>()?
            }
            "--told" => options.narration = Narration::Told,
            "--frames" => options.narration = Narration::Frames,
            other => return Err(format!("no option {other}")),
        }
    }
    Ok(options)
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text} is not a number that fits"))
}

fn kind(text: &str) -> Result<Fault, String> {
    let named = |fault: &&Fault| format!("{fault:?}").eq_ignore_ascii_case(text);
    FAULTS.iter().find(named).copied().ok_or_else(|| format!("no fault {text}, of {FAULTS:?}"))
}

/// What became of all runs so far.
#[derive(Default)]
struct Results {
    runs: u64,
    /// Of the runs that did not fail.
    sum: Summary,
    /// The seeds of those that did.
    failed: Vec<u64>,
}

fn carry_out(options: &Options) -> ExitCode {
    keep_panics_quiet();
    let started = Instant::now();
    let next = AtomicU64::new(options.from);
    let results = Mutex::new(Results::default());
    thread::scope(|scope| {
        for _ in 0..options.threads {
            scope.spawn(|| run_seeds(options, &next, &results));
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    report(&results, started.elapsed().as_secs_f64());
    results.failed.sort_unstable();
    if let (Some(seed), true) = (results.failed.first(), options.shrinks) {
        let small = shrink(*seed, &options.limits);
        println!("  smaller: make sim SEED={seed} SIM_FLAGS='{}'", flags(&small));
    }
    if results.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What each thread does: runs the next seed until there are none.
fn run_seeds(options: &Options, next: &AtomicU64, results: &Mutex<Results>) {
    let end = options.from.saturating_add(options.seeds);
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end {
            return;
        }
        let result = run(seed, &options.limits, options.narration);
        let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
        results.runs += 1;
        match result {
            Ok(summary) => results.sum.add(&summary),
            Err(reason) => {
                let flags = flags(&options.limits);
                let flags = if flags.is_empty() { flags } else { format!(" SIM_FLAGS='{flags}'") };
                println!("seed {seed}: {reason}\n  replay: make sim SEED={seed}{flags}");
                results.failed.push(seed);
                if options.first {
                    next.store(end, Ordering::Relaxed);
                }
            }
        }
    }
}

fn report(Results { runs, sum, failed }: &Results, seconds: f64) {
    let failed = failed.len();
    let Summary {
        events,
        simulated_us,
        answered,
        faults,
        refused_stores,
        elections,
        committed,
        changes,
        transfers,
        leased,
        bequests,
        recovery_timeouts,
        stars,
        star_timeouts,
        fingerprint,
    } = *sum;
    let hours = simulated_us / 3_600_000_000;
    let minutes = simulated_us / 60_000_000 % 60;
    // A rate for people to read.
    #[expect(clippy::cast_precision_loss)]
    let rate = events as f64 / seconds / 1e6;
    println!(
        "{runs} runs, {failed} failed: {events} events in {seconds:.1} s ({rate:.2} million/s), \
         {hours} h {minutes} min of cluster time, {faults} faults, {refused_stores} damaged stores refused, \
         {elections} elections, {committed} entries committed, {answered} requests given IDs, \
         {leased} of them under a lease, {changes} changes of membership, {transfers} transfers, \
         {bequests} bequests, \
         {stars} stars, the slowest led after {star_timeouts} election timeouts, \
         slowest recovery {recovery_timeouts} election timeouts, fingerprint {fingerprint:016x}"
    );
}

/// The options that stand for these limits.
fn flags(limits: &Limits) -> String {
    let mut flags = String::new();
    let listed = |items: Vec<String>| items.join(",");
    let mut flag = |name: &str, value: String| {
        // Writing to a string does not fail.
        let _ = write!(flags, "{}--{name} {value}", if flags.is_empty() { "" } else { " " });
    };
    if let Some(members) = limits.members_max {
        flag("members", members.to_string());
    }
    if let Some(faults) = limits.faults_max {
        flag("faults", faults.to_string());
    }
    if !limits.skip.is_empty() {
        flag("skip", listed(limits.skip.iter().map(u64::to_string).collect()));
    }
    if !limits.without.is_empty() {
        flag("without", listed(limits.without.iter().map(|kind| format!("{kind:?}")).collect()));
    }
    flags
}
