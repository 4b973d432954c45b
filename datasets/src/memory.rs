//! How much memory there is, so that what does not fit is refused before it is begun.

use std::fs;
use std::path::Path;

/// Bytes that this process may still take, where the system tells: the least of what is free, of its limit (`ulimit -v`) and of
/// its control group's.
pub(crate) fn available() -> Option<u64> {
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let free = kilobytes(&text("/proc/meminfo"), "MemAvailable:");
    let taken = kilobytes(&text("/proc/self/status"), "VmSize:").unwrap_or_default();
    let limit = address_space(&text("/proc/self/limits")).map(|limit| limit.saturating_sub(taken));
    let groups = text("/proc/self/cgroup");
    let group = VERSIONS.iter().filter_map(|version| version.left(&groups, Path::new("/sys/fs/cgroup")));
    [free, limit].into_iter().flatten().chain(group).min()
}

/// `NAME   123 kB` of a list.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The soft limit of the address space; none if it is unlimited.
fn address_space(limits: &str) -> Option<u64> {
    let rest = limits.lines().find_map(|line| line.strip_prefix("Max address space"))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// How control groups are told.
struct Groups {
    /// What a line of `/proc/self/cgroup` has before the group's path.
    line: &'static str,
    /// Where these groups are, below the directory of all.
    root: &'static str,
    most: &'static str,
    taken: &'static str,
    /// Of the page cache, which counts as taken, but gives way.
    cached: &'static str,
}

const VERSIONS: [Groups; 2] = [
    Groups { line: "0::/", root: "", most: "memory.max", taken: "memory.current", cached: "inactive_file " },
    Groups {
        line: ":memory:/",
        root: "memory",
        most: "memory.limit_in_bytes",
        taken: "memory.usage_in_bytes",
        cached: "total_inactive_file ",
    },
];

impl Groups {
    /// What the group that the process is in, and those above it, leave it.
    fn left(&self, groups: &str, root: &Path) -> Option<u64> {
        let (_, own) = groups.lines().find_map(|line| line.split_once(self.line))?;
        let left = |group: &Path| {
            let read = |name: &str| fs::read_to_string(root.join(self.root).join(group).join(name)).ok();
            let number = |name: &str| read(name)?.trim().parse::<u64>().ok();
            let cached = read("memory.stat").and_then(|stat| {
                stat.lines().find_map(|line| line.strip_prefix(self.cached))?.trim().parse::<u64>().ok()
            });
            let taken = number(self.taken)?.saturating_sub(cached.unwrap_or_default());
            Some(number(self.most)?.saturating_sub(taken))
        };
        Path::new(own).ancestors().filter_map(left).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_s_words_are_read() {
        let meminfo = "MemTotal:       24000000 kB\nMemAvailable:   23000000 kB\n";
        assert_eq!(kilobytes(meminfo, "MemAvailable:"), Some(23_000_000 * 1024));
        assert_eq!(kilobytes("", "MemAvailable:"), None);
        let limits = |soft: &str| {
            format!(
                "Limit   Soft Limit   Hard Limit   Units\nMax address space   {soft}   unlimited   bytes\n"
            )
        };
        assert_eq!(address_space(&limits("1024000000")), Some(1_024_000_000));
        assert_eq!(address_space(&limits("unlimited")), None);
    }

    #[test]
    fn a_group_leaves_what_it_or_one_above_has_not_taken() {
        for (Groups { most, taken, root: below, .. }, version, line, cached) in [
            (&VERSIONS[0], 0, "0::/user/job\n", "inactive_file 100"),
            (&VERSIONS[1], 1, "4:memory:/user/job\n0::/\n", "total_inactive_file 100"),
        ] {
            let root = tempfile::tempdir().unwrap();
            let user = root.path().join(below).join("user");
            fs::create_dir_all(user.join("job")).unwrap();
            for (group, bytes, used) in [(user.join("job"), "1000", "500"), (user.clone(), "600", "300")] {
                fs::write(group.join(most), bytes).unwrap();
                fs::write(group.join(taken), used).unwrap();
            }
            let left = |line: &str| VERSIONS[version].left(line, root.path());
            assert_eq!(left(line), Some(300));
            fs::write(user.join("job/memory.stat"), format!("anon 1\n{cached}\n")).unwrap();
            fs::write(user.join(most), "max\n").unwrap();
            assert_eq!(left(line), Some(600));
            assert_eq!(left(&line.replace("user", "elsewhere")), None);
        }
    }
}
