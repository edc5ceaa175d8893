//! `rollcall completions` and `rollcall man`: what a shell and `man` know of the command line, made from it.

use super::output::Output;
use super::{Cli, create_dir, write_file};
use crate::exit::Failure;
use clap::{Args, Command, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;
use std::path::PathBuf;

/// `rollcall completions`.
#[derive(Args, Debug)]
#[command(before_long_help = "\
Examples:
  rollcall completions bash > ~/.local/share/bash-completion/completions/rollcall
  rollcall completions zsh > ~/.zfunc/_rollcall
      with `fpath+=~/.zfunc` before `compinit` in ~/.zshrc
  rollcall completions fish > ~/.config/fish/completions/rollcall.fish
  source <(rollcall completions bash)
      for this shell alone")]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL", value_enum)]
    pub shell: Shell,
}

/// `rollcall man`.
#[derive(Args, Debug)]
#[command(before_long_help = "\
Examples:
  rollcall man --out ~/.local/share/man/man1
      pages of the program and of every command: man rollcall, man rollcall-run
  rollcall man | man -l -
      the page of the program, at once")]
pub struct ManArgs {
    /// Directory to write all pages to [default: the program's own to standard output]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// Prints what completes the command line in a shell.
pub fn completions(args: &CompletionsArgs, output: Output) {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "rollcall", &mut script);
    output.line(String::from_utf8_lossy(&script).trim_end());
}

/// Writes the pages, or prints the first.
///
/// # Errors
/// When a page cannot be written.
pub fn man(args: &ManArgs, output: Output) -> Result<(), Failure> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let Some(out) = &args.out else {
        let (_, page) = page(command)?;
        output.line(String::from_utf8_lossy(&page).trim_end());
        return Ok(());
    };
    create_dir(out)?;
    let pages = commands(command).into_iter().map(page).collect::<Result<Vec<_>, _>>()?;
    for (name, page) in &pages {
        write_file(&out.join(name), page, false)?;
    }
    output.talk(format_args!("Wrote {} pages to {}", pages.len(), out.display()));
    Ok(())
}

/// A command and those below it.
fn commands(command: Command) -> Vec<Command> {
    let below: Vec<_> = command.get_subcommands().filter(|below| !below.is_hide_set()).cloned().collect();
    std::iter::once(command).chain(below.into_iter().flat_map(commands)).collect()
}

/// The page of a command, and the name of its file.
fn page(command: Command) -> Result<(String, Vec<u8>), Failure> {
    // What help begins with has no place in a generated page.
    let examples = command.get_before_long_help().map(ToString::to_string).unwrap_or_default();
    let man = Man::new(command).manual("rollcall");
    let mut page = Vec::new();
    man.render(&mut page).map_err(|error| Failure::unexpected(format!("cannot make a man page: {error}")))?;
    page.extend(section_of(&examples).into_bytes());
    Ok((man.get_filename(), page))
}

/// Examples as a section of a man page, line by line as they stand.
fn section_of(examples: &str) -> String {
    let lines: Vec<_> = examples.lines().filter(|line| *line != "Examples:").map(as_roff).collect();
    if lines.is_empty() { String::new() } else { format!(".SH EXAMPLES\n.nf\n{}\n.fi\n", lines.join("\n")) }
}

/// A line that means nothing to roff: a backslash is one, and a point or a quote in front is no request.
fn as_roff(line: &str) -> String {
    let plain = line.replace('\\', "\\e").replace('-', "\\-");
    if plain.starts_with(['.', '\'']) { format!("\\&{plain}") } else { plain }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_of_its_own() {
        let mut command = Cli::command().disable_help_subcommand(true);
        command.build();
        let pages: Vec<_> =
            commands(command).into_iter().map(|command| page(command).expect("a page")).collect();
        let mut names: Vec<_> = pages.iter().map(|(name, _)| name.as_str()).collect();
        for name in ["rollcall.1", "rollcall-run.1", "rollcall-scenario-new.1", "rollcall-ca-upload.1"] {
            assert!(names.contains(&name), "{name} in {names:?}");
        }
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all, "one page a name: {names:?}");
    }

    #[test]
    fn examples_are_a_section_in_which_nothing_is_a_request() {
        assert_eq!(section_of(""), "");
        assert_eq!(
            section_of("Examples:\n  a --b \\\n.c\n'd"),
            ".SH EXAMPLES\n.nf\n  a \\-\\-b \\e\n\\&.c\n\\&'d\n.fi\n"
        );
    }
}
