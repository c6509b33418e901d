//! Client commands.

/// Runs a client command; `None` when it is none.
pub(crate) fn run(_args: &[String]) -> Option<std::process::ExitCode> {
    None
}
