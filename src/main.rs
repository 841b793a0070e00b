//! The program.
fn main() {
    println!(
        "{:?}",
        ticketd::cli::parse(std::env::args_os()).map_err(|e| match e {
            ticketd::cli::ParseExit::Text(t) => {
                println!("{t}");
                std::process::exit(0)
            }
            ticketd::cli::ParseExit::Usage(t) => {
                println!("ticketd: {t}");
                std::process::exit(2)
            }
        })
    )
}
