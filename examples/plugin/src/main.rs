//! kshot with `nearest-mean` beside the learners it comes with.

use nearest_mean as _; // links the plugin, which registers itself

fn main() -> std::process::ExitCode {
    kshot_cli::main()
}
