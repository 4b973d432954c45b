//! kshot's command line with `@NAME@` in it.

use @CRATE@ as _;

fn main() -> std::process::ExitCode {
    kshot_cli::main()
}
