//! The command line, parsed and checked as far as is possible without looking at anything else.
//!
//! Floor 5, pure. Every flag may stand before or after the subcommand, and every flag of several words may be
//! written with `_` or with `-`. It must never touch a store, a socket or the environment: the commands do.

mod flags;
mod task;
mod values;

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::address::HostPort;
pub use flags::{FIRST_ID_DEFAULT, Flags, PATH_DEFAULT, ServingFlags};
use task::Task;

/// A command line.
#[derive(Parser, Debug)]
#[command(
    name = "ticketd",
    version,
    propagate_version = true,
    about = "A server of unique, strictly increasing 64-bit integers, replicated by Raft",
    disable_version_flag = true,
    override_usage = "ticketd [FLAGS] [COMMAND]",
    after_help = AFTER_HELP,
    max_term_width = 100
)]
pub struct Cli {
    /// What to do; none means to go on with the store that is there.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How.
    #[command(flatten)]
    pub flags: Flags,
}

const AFTER_HELP: &str = "\
A cluster of three on one machine:
  ticketd start --path 1 --id 1 --raft_port 9001 --http_port 8001
  ticketd join 127.0.0.1:9001 --path 2 --id 2 --raft_port 9002 --http_port 8002
  ticketd join 127.0.0.1:9001 --path 3 --id 3 --raft_port 9003 --http_port 8003
  curl -X POST http://127.0.0.1:8001/

A node that has stopped goes on with 'ticketd --path 1': the rest is in its
store. Flags given then replace those that the store holds.";

/// What to do.
#[derive(Subcommand, Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Found a new cluster with this node as its only member, and serve
    Start,
    /// Join the cluster that these members belong to, and serve
    Join {
        /// A member's host and raft port; any members, leader or not
        #[arg(value_name = "HOST:PORT", required = true, value_delimiter = ',')]
        #[arg(value_parser = values::member)]
        members: Vec<HostPort>,
    },
    /// Leave the cluster and destroy the store; with --id another: remove that member, even a dead one
    Leave,
    /// Destroy the store of a stopped node
    Drop,
    /// Say what the running node knows of itself and the cluster
    Status,
    /// Hand leadership to another member
    Transfer,
    /// Read the whole store of a stopped node and say whether it is sound
    Verify,
}

/// A command line that only asks for a text to be printed, or that cannot be understood.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ParseExit {
    /// `--help` or `--version`: print this to standard output; exit status 0.
    Text(String),
    /// One line that says what is wrong and where to find help; exit status 2.
    Usage(String),
}

/// Parses a command line, which begins with the program's name.
///
/// # Errors
/// [`ParseExit`] if there is no command to run.
pub fn parse<T: Into<OsString> + Clone>(args: impl IntoIterator<Item = T>) -> Result<Cli, ParseExit> {
    let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
    let matches = command().try_get_matches_from(&args).map_err(|error| exit(&error))?;
    let cli = Cli::from_arg_matches(&matches).map_err(|error| exit(&error))?;
    // A flag may stand before a subcommand that it does not belong to; clap does not notice that.
    let task = Task::of(cli.command.as_ref());
    let permitted = task.flags();
    for arg in command().get_arguments() {
        let id = arg.get_id().as_str();
        let given = matches.value_source(id) == Some(clap::parser::ValueSource::CommandLine);
        if given && !permitted.contains(id) {
            let flag = arg.get_long().unwrap_or(id);
            return Err(ParseExit::Usage(format!("--{flag} has no meaning with {task}: {}", task.help())));
        }
    }
    if let Some(flag) = given_on_both_sides(&args, &matches) {
        return Err(ParseExit::Usage(format!(
            "--{flag} cannot be used multiple times, before and behind the command: {}",
            task.help()
        )));
    }
    Ok(cli)
}

/// The flag, if any, that stands both before and behind the subcommand of a command line that is otherwise
/// sound. Of a global flag clap would silently take the second, and `--path A drop --path B` would destroy B.
/// So here each side has flags of its own. That takes a millisecond, which a command line that begins with
/// its command, or has none, is spared.
fn given_on_both_sides(args: &[OsString], matches: &clap::ArgMatches) -> Option<String> {
    let name = matches.subcommand_name()?;
    if args.get(1).is_some_and(|first| first == name) {
        return None;
    }
    let mut command = command();
    let flags: Vec<clap::Arg> = command.get_arguments().map(|arg| arg.clone().global(false)).collect();
    command = command.mut_args(|arg| arg.global(false));
    for task in Task::SUBCOMMANDS {
        // The others are there already: see `command`.
        let own = task.flags();
        let own = flags.iter().filter(|arg| own.contains(arg.get_id().as_str())).cloned();
        let name = task.subcommand().expect("it is one of those that have a subcommand");
        command = command.mut_subcommand(name, |sub| sub.mut_args(|arg| arg.global(false)).args(own));
    }
    let before = command.try_get_matches_from(args).ok()?;
    let (_, behind) = before.subcommand()?;
    let given = |side: &clap::ArgMatches, id: &str| {
        side.value_source(id) == Some(clap::parser::ValueSource::CommandLine)
    };
    let is_on_both = |arg: &&clap::Arg| {
        let id = arg.get_id().as_str();
        given(&before, id) && given(behind, id)
    };
    flags.iter().find(is_on_both).map(|arg| arg.get_long().unwrap_or(arg.get_id().as_str()).to_owned())
}

/// The derived command, with each subcommand's help reduced to the flags that belong to it.
fn command() -> clap::Command {
    // So that the error for `--id -1` says what an id is, and not that -1 is an unknown flag.
    let mut command = Cli::command()
        .mut_args(|arg| if arg.get_action().takes_values() { arg.allow_negative_numbers(true) } else { arg });
    let flags: Vec<clap::Arg> = command.get_arguments().cloned().collect();
    for task in Task::SUBCOMMANDS {
        let permitted = task.flags();
        // A global flag is not added to a subcommand that has one of the same name: so this hidden one
        // replaces it.
        let foreign = flags.iter().filter(|arg| !permitted.contains(arg.get_id().as_str()));
        let hidden = foreign.map(|arg| arg.clone().hide(true));
        let name = task.subcommand().expect("it is one of those that have a subcommand");
        command = command.mut_subcommand(name, |sub| sub.args(hidden));
    }
    command
}

/// Reduces clap's message, a paragraph or more, to one line.
fn exit(error: &clap::Error) -> ParseExit {
    if error.kind() == ErrorKind::DisplayHelp {
        return ParseExit::Text(error.to_string());
    }
    if error.kind() == ErrorKind::DisplayVersion {
        // Our own text: clap's would contain the name of the subcommand.
        return ParseExit::Text(format!("ticketd {}\n", env!("CARGO_PKG_VERSION")));
    }
    let text = error.to_string();
    // The first paragraph says what is wrong; the rest repeats the usage.
    let paragraph = text.split("\n\n").next().unwrap_or_default();
    let problem = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    let problem = problem.strip_prefix("error: ").unwrap_or(&problem);
    let suggested = [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand].into_iter().find_map(
        |kind| match error.get(kind) {
            Some(ContextValue::String(name)) => Some(did_you_mean(name)),
            Some(ContextValue::Strings(names)) => names.first().map(|name| did_you_mean(name)),
            _ => None,
        },
    );
    // A switch takes its value only behind `=`, because what follows it may be a command.
    if let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand)
        && let "on" | "off" = word.as_str()
    {
        return ParseExit::Usage(format!(
            "'{word}' is no command: write it behind the flag with '=', as in '--forward={word}'"
        ));
    }
    // Which task was meant is not known, so the general help it is.
    ParseExit::Usage(format!("{problem}: {}{}", suggested.unwrap_or_default(), Task::Restart.help()))
}

/// An operator who types `restart` must not be led to found another cluster, which hands out the same IDs
/// again.
fn did_you_mean(name: &str) -> String {
    match name {
        "start" => "did you mean 'start', which founds a new cluster? 'ticketd --path DIR' restarts a node; "
            .to_owned(),
        _ => format!("did you mean '{name}'? "),
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;
    use std::path::Path;

    use clap::ArgAction;

    use super::*;
    use crate::settings::{OrOff, Switch};

    fn parsed(line: &str) -> Cli {
        parse(line.split_whitespace()).unwrap()
    }

    fn usage(line: &str) -> String {
        match parse(line.split_whitespace()) {
            Err(ParseExit::Usage(line)) => line,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn text(line: &str) -> String {
        match parse(line.split_whitespace()) {
            Err(ParseExit::Text(text)) => text,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn the_command_is_consistent_in_itself() {
        command().debug_assert();
    }

    #[test]
    fn flags_mean_the_same_before_and_after_the_subcommand() {
        let after = parsed("ticketd start --id 1 --raft_port 9001 -t 8001 --path x -g");
        let before = parsed("ticketd --id 1 --raft_port 9001 -t 8001 --path x -g start");
        assert_eq!(after.command, Some(Command::Start));
        assert_eq!(after.command, before.command);
        assert_eq!(after.flags, before.flags);
        assert_eq!(after.flags.serving.raft_port, Some(9001));
        assert_eq!(after.flags.serving.http_port, Some(8001));
    }

    #[test]
    fn no_flag_may_stand_both_before_and_after_the_subcommand() {
        let values = ["", "=1", "=50", "=307", "=a", "=on"];
        for arg in command().get_arguments().filter(|arg| !matches!(arg.get_action(), ArgAction::Version)) {
            let flag = format!("--{}", arg.get_long().unwrap());
            // Whichever subcommand has it, and whichever value it takes.
            let tasks =
                Task::SUBCOMMANDS.into_iter().filter(|task| task.flags().contains(arg.get_id().as_str()));
            let mut tried = 0;
            for task in tasks {
                let operands = if task == Task::Join { " a:1" } else { "" };
                let command = format!("{}{operands}", task.subcommand().unwrap());
                // The flag might take the command for its value.
                let taken = |value: &&&str| {
                    let line = format!("ticketd {flag}{value} {command}");
                    parse(line.split_whitespace()).is_ok_and(|cli| cli.command.is_some())
                };
                let value = values.iter().find(taken).unwrap_or_else(|| panic!("a value for {flag}"));
                parsed(&format!("ticketd {command} {flag}{value}"));
                let said = usage(&format!("ticketd {flag}{value} {command} {flag}{value}"));
                assert!(said.starts_with(&format!("{flag} cannot be used multiple times")), "{said}");
                tried += 1;
            }
            assert!(tried > 0, "{flag}");
        }
        usage("ticketd -P a drop --path b");
        usage("ticketd --raft-port 1 start --raft_port 1");
    }

    #[test]
    fn words_of_flags_are_joined_by_either_sign() {
        let all = "--raft_port 1 --http_port 2 --db_size 30 --pid_file 4 --first_id 5 --election_timeout 60 \
                   --heartbeat_interval 7 --request_timeout 8 --redirect_status 307 --batch_max 9";
        let underscores = parsed(&format!("ticketd start --id 1 {all}"));
        let dashes = parsed(&format!("ticketd start --id 1 {}", all.replace('_', "-")));
        let before = parsed(&format!("ticketd {} start --id 1", all.replace('_', "-")));
        assert_eq!(underscores.flags, dashes.flags);
        assert_eq!(underscores.flags, before.flags);
        assert_eq!(underscores.flags.serving.batch_max, NonZeroU64::new(9));
    }

    #[test]
    fn every_setting_can_be_changed_by_its_flag() {
        let default = crate::settings::Settings::default();
        let line = "ticketd --host a --advertise b --raft_port 1 --http_port 2 --db_size 30 --window 4 \
                    --election_timeout 50 --heartbeat_interval 6 --request_timeout 7 --redirect_status 308 \
                    --batch_max 9 --forward --lease --clock_error_ppm 8 --http_connections 10 \
                    --http_idle_timeout 11 --http_header_timeout 12 --http_body_timeout 13 --http_unix c \
                    --metrics_host d --metrics_port 14";
        let changed = default.clone().with(&parsed(line).flags.serving.changes()).unwrap();
        let optional = ["advertise", "http_connections", "http_unix", "metrics_host", "metrics_port"];
        let (before, after) = (default.to_pairs(), changed.to_pairs());
        assert_eq!(after.len(), before.len() + optional.len());
        for pair in before {
            assert!(!after.contains(&pair), "{pair:?}");
        }
    }

    #[test]
    fn hosts_may_be_several_and_what_was_given_may_be_off() {
        let hosts = parsed("ticketd --host ::1,10.0.0.1 -H a").flags.serving.hosts.unwrap();
        assert_eq!(hosts, ["::1", "10.0.0.1", "a"].map(|host| host.parse().unwrap()));
        let off = parsed("ticketd --http_unix off --metrics_port off --http_connections off").flags.serving;
        assert_eq!((off.http_unix, off.metrics_port), (Some(OrOff::Off), Some(OrOff::Off)));
        assert_eq!(off.http_connections, Some(OrOff::Off));
        for line in ["ticketd --metrics_port x", "ticketd --http_connections 0", "ticketd --host a,,b"] {
            usage(line);
        }
    }

    #[test]
    fn no_flag_of_several_words_lacks_its_other_spelling() {
        for arg in command().get_arguments().filter(|arg| !arg.is_hide_set()) {
            let long = arg.get_long().unwrap();
            if long.contains('_') {
                assert_eq!(arg.get_all_aliases(), Some(vec![long.replace('_', "-").as_str()]), "{long}");
            }
        }
    }

    #[test]
    fn members_to_join_through_may_be_separated_by_commas_or_spaces() {
        let commas = parsed("ticketd join a:1,b:2,[::1]:3 --id 2");
        let spaces = parsed("ticketd join a:1 --id 2 b:2 [::1]:3");
        assert_eq!(commas.command, spaces.command);
        match commas.command {
            Some(Command::Join { members }) => assert_eq!(members.len(), 3),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn forwarding_is_switched_on_by_its_flag_alone_and_off_again_by_a_value() {
        assert_eq!(parsed("ticketd").flags.serving.forward, None);
        assert_eq!(parsed("ticketd --forward").flags.serving.forward, Some(Switch::On));
        assert_eq!(parsed("ticketd --forward=off").flags.serving.forward, Some(Switch::Off));
        assert_eq!(parsed("ticketd --lease").flags.serving.lease, Some(Switch::On));
        assert_eq!(parsed("ticketd --lease=off").flags.serving.lease, Some(Switch::Off));
        // What follows is an operand, not a value of the flag.
        let cli = parsed("ticketd join --forward a:1 --id 2");
        assert_eq!(cli.flags.serving.forward, Some(Switch::On));
        assert_eq!(cli.command, parsed("ticketd join a:1 --id 2").command);
    }

    #[test]
    fn without_a_subcommand_it_is_a_restart() {
        let cli = parsed("ticketd --path x --http_port 0 -d --pid_file y");
        assert_eq!(cli.command, None);
        assert_eq!(cli.flags.path(), Path::new("x"));
        assert_eq!(cli.flags.serving.http_port, Some(0));
        assert_eq!(parsed("ticketd").flags.path(), Path::new("store"));
    }

    #[test]
    fn the_version_is_one_line_wherever_it_is_asked_for() {
        let line = format!("ticketd {}\n", env!("CARGO_PKG_VERSION"));
        for asked in ["ticketd -v", "ticketd --version", "ticketd start -v"] {
            assert_eq!(text(asked), line, "{asked}");
        }
    }

    #[test]
    fn a_usage_error_is_one_line_that_says_what_is_wrong_and_where_to_look() {
        for (line, wanted) in [
            ("ticketd start --id 0", "from 1 to 18446744073709551615"),
            ("ticketd start --id x", "from 1 to 18446744073709551615"),
            ("ticketd start --id -1", "from 1 to 18446744073709551615"),
            ("ticketd start --id +1", "from 1 to 18446744073709551615"),
            ("ticketd start --id 18446744073709551616", "from 1 to 18446744073709551615"),
            ("ticketd start --id 1 --raft_port 65536", "from 0 to 65535"),
            ("ticketd start --id 1 --db_size 15", "from 16 to 1048576"),
            ("ticketd start --id 1 --first_id 0", "from 1 to 18446744073709551614"),
            ("ticketd start --id 1 --first_id 18446744073709551615", "from 1 to 18446744073709551614"),
            ("ticketd start --id 1 --host a/b", "a host is an IPv4 address, an IPv6 address or a name"),
            ("ticketd start --id 1 --advertise 0.0.0.0", "nobody can reach a node at that address"),
            ("ticketd start --id 1 --redirect_status 302", "301, 307 or 308"),
            ("ticketd start --id 1 --forward=maybe", "it must be on or off"),
            ("ticketd start --id 1 --id 2", "cannot be used multiple times"),
            ("ticketd start --id", "a value is required"),
            ("ticketd join --id 2", "HOST:PORT"),
            ("ticketd join 127.0.0.1 --id 2", "HOST:PORT"),
            ("ticketd leav", "did you mean 'leave'?"),
            ("ticketd restart", "'ticketd --path DIR' restarts a node"),
            ("ticketd --raft_prt 1", "did you mean '--raft_port'?"),
            ("ticketd --first_id 5 verify", "--first_id has no meaning with 'ticketd verify'"),
            ("ticketd join a:1 --id 2 --first_id 5", "--first_id has no meaning with 'ticketd join'"),
            ("ticketd --id 5", "--id has no meaning with a restart"),
            ("ticketd drop --raft_port 1", "--raft_port has no meaning with 'ticketd drop'"),
            ("ticketd --force", "--force has no meaning with a restart"),
        ] {
            let said = usage(line);
            assert!(said.contains(wanted), "{line}: {said}");
            assert!(!said.contains('\n'), "{line}: {said}");
            assert!(said.contains("ticketd"), "{line}: {said}");
        }
    }

    #[test]
    fn the_help_of_a_subcommand_shows_its_own_flags_and_no_others() {
        let help = text("ticketd status --help");
        assert!(help.contains("--json") && help.contains("--path"), "{help}");
        for foreign in ["--raft_port", "--first_id", "--force", "--in_background"] {
            assert!(!help.contains(foreign), "{foreign} in {help}");
        }
        assert!(text("ticketd start -h").contains("--first_id"));
        assert!(!text("ticketd join -h").contains("--first_id"));
    }

    /// What is wider is wrapped by clap line by line, in the middle of sentences.
    #[test]
    fn the_end_of_the_help_fits_a_terminal_of_eighty_columns() {
        for line in AFTER_HELP.lines() {
            assert!(line.len() <= 80, "{line}");
        }
    }

    #[test]
    fn help_is_a_command_too() {
        assert_eq!(text("ticketd help"), text("ticketd --help"));
        assert_eq!(text("ticketd help start"), text("ticketd start --help"));
    }

    #[test]
    fn every_flag_that_takes_a_value_says_its_default_or_that_it_is_required() {
        let shown = |arg: &&clap::Arg| !arg.is_hide_set() && arg.get_action().takes_values();
        for arg in command().get_arguments().filter(shown) {
            let help = arg.get_help().unwrap().to_string();
            assert!(help.contains("[default: "), "{}: {help}", arg.get_id());
        }
    }

    #[test]
    fn the_help_names_the_defaults_that_are_in_force() {
        // In one line, so that line breaks do not matter.
        let help = text("ticketd --help").split_whitespace().collect::<Vec<_>>().join(" ");
        for (name, value) in crate::settings::Settings::default().to_pairs() {
            let (_, from_flag) = help.split_once(&format!("--{name}")).unwrap();
            let (_, default) = from_flag.split_once("[default: ").unwrap();
            let (default, _) = default.split_once(']').unwrap();
            assert_eq!(default, value, "{name}");
        }
    }
}
