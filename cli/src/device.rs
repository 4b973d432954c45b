//! What this build computes on: one device a build, as a program with CUDA in it does not start without a driver.

use clap::ValueEnum;
use kshot::{Error, Result};

use crate::args::Command;

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Device {
    Cpu,
    Cuda,
}

/// What this build has.
const OWN: Device = if cfg!(feature = "cuda") { Device::Cuda } else { Device::Cpu };

/// Refuses a device that this build does not have; and, before any work, one that is not there.
///
/// # Errors
/// Says which build has it.
pub(crate) fn refuse_other(asked: Option<Device>, command: &Command) -> Result<()> {
    match asked.unwrap_or(OWN) {
        Device::Cuda if OWN == Device::Cpu => Err(Error::invalid(
            "`--device cuda`: this kshot was built for the CPU; build one with `--features cuda` on the machine with the GPU \
             (docs/cuda.md says what that takes)",
        )),
        Device::Cpu if OWN == Device::Cuda => Err(Error::invalid(
            "`--device cpu`: this kshot was built for CUDA, and does not have the CPU's kernels; build one without the feature \
             `cuda`",
        )),
        _ if asked.is_some() || computes(command) => usable().map(drop),
        _ => Ok(()),
    }
}

/// Whether a command has networks to run.
fn computes(command: &Command) -> bool {
    match command {
        Command::Bench(_)
        | Command::Run(_)
        | Command::Report(_)
        | Command::Train(_)
        | Command::Eval(_)
        | Command::Predict(_)
        | Command::Verify(_)
        | Command::Embed(_)
        | Command::Perf(_) => true,
        Command::Compare(_)
        | Command::Tasks(_)
        | Command::Learners { .. }
        | Command::Datasets { .. }
        | Command::Backbones { .. }
        | Command::Schema { .. }
        | Command::New(_)
        | Command::Data { .. }
        | Command::Doctor(_) => false,
    }
}

/// The device in words, also where it cannot be used.
pub(crate) fn in_words() -> String {
    usable().unwrap_or_else(|error| error.to_string())
}

/// The GPU that dfdx uses.
#[cfg(feature = "cuda")]
fn usable() -> Result<String> {
    use cudarc::driver::{CudaDevice, result};

    // Anything else panics where there is no driver.
    result::init().map_err(|error| {
        Error::invalid(format!(
            "this kshot was built for CUDA, but there is no usable GPU or driver ({error:?}): see what `nvidia-smi` says, or \
             build one without the feature `cuda`"
        ))
    })?;
    // cudarc 0.9 gives no safe access to a name; `nvidia-smi` has come with every driver dfdx can be built against.
    let named = std::process::Command::new("nvidia-smi")
        .args(["--query-gpu=name,driver_version", "--format=csv,noheader", "--id=0"])
        .output()
        .ok()
        .filter(|output| output.status.success())
        .and_then(|output| {
            String::from_utf8_lossy(&output.stdout)
                .trim()
                .rsplit_once(", ")
                .map(|(name, driver)| format!("{name}, driver {driver}"))
        })
        .unwrap_or_else(|| "a GPU that `nvidia-smi` does not name".to_owned());
    match CudaDevice::new(0).and_then(|_| result::mem_get_info()) {
        Ok((free, total)) => {
            let gib = |bytes: usize| bytes as f64 / f64::from(1 << 30);
            Ok(format!("{named}, {:.1} GiB of memory ({:.1} free)", gib(total), gib(free)))
        }
        Err(error) => Err(Error::invalid(format!("{named} cannot be used: {error:?}"))),
    }
}

#[cfg(not(feature = "cuda"))]
fn usable() -> Result<String> {
    Ok("CPU (built without the feature `cuda`)".to_owned())
}
