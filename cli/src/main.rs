//! The program `kshot`.

fn main() -> std::process::ExitCode {
    kshot_cli::main()
}
