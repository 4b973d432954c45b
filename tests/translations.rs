//! The Chinese pages say what the English ones say: the same headings, the same commands, links that lead somewhere.

// A test fails by panicking, its helpers too.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;

/// Each page and its translation.
const PAGES: [[&str; 2]; 2] = [["README.md", "README.zh-CN.md"], ["docs/guide.md", "docs/guide.zh-CN.md"]];

/// The subcommands of `kshot`.
const COMMANDS: [&str; 18] = [
    "bench",
    "run",
    "compare",
    "report",
    "train",
    "eval",
    "predict",
    "verify",
    "embed",
    "tasks",
    "perf",
    "learners",
    "datasets",
    "backbones",
    "schema",
    "new",
    "data",
    "doctor",
];

/// A page of Markdown, as far as it is compared.
struct Page {
    name: &'static str,
    /// Level and line of each heading.
    headings: Vec<(usize, String)>,
    /// The fenced blocks, each with its first line: ```` ```sh ````.
    blocks: Vec<String>,
    /// What stands outside of fenced blocks.
    prose: String,
}

impl Page {
    fn read(name: &'static str) -> Self {
        let text = fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut page = Self { name, headings: Vec::new(), blocks: Vec::new(), prose: String::new() };
        let mut open: Option<String> = None;
        for line in text.lines() {
            if let Some(mut block) = open.take() {
                block.push_str(line);
                block.push('\n');
                match line.trim_end() {
                    "```" => page.blocks.push(block),
                    _ => open = Some(block),
                }
            } else if line.starts_with("```") {
                open = Some(format!("{line}\n"));
            } else {
                let level = line.bytes().take_while(|&byte| byte == b'#').count();
                if level > 0 && line[level..].starts_with(' ') {
                    page.headings.push((level, line.to_owned()));
                }
                page.prose.push_str(line);
                page.prose.push('\n');
            }
        }
        assert!(open.is_none(), "{name}: a fenced block is not closed:\n{}", open.unwrap_or_default());
        page
    }

    /// Where the links and pictures lead that are no addresses, without what stands behind `#`.
    fn links(&self) -> impl Iterator<Item = &str> {
        let targets = self.prose.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
        let paths = targets.map(|(target, _)| target.split('#').next().unwrap_or_default());
        paths.filter(|path| !path.is_empty() && !path.contains("://") && !path.starts_with("mailto:"))
    }

    /// Lines of the shell blocks that call `kshot`, without what stands before that name.
    fn calls(&self) -> impl Iterator<Item = &str> {
        let shell = self.blocks.iter().filter(|block| block.starts_with("```sh"));
        let commands = shell.flat_map(|block| block.lines().skip(1)).flat_map(|line| {
            let code = line.split(" #").next().unwrap_or_default();
            code.split("&&").flat_map(|part| part.split(['|', ';']))
        });
        commands.filter_map(|command| command.trim().strip_prefix("kshot "))
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn pairs() -> impl Iterator<Item = [Page; 2]> {
    PAGES.into_iter().map(|names| names.map(Page::read))
}

fn pages() -> impl Iterator<Item = Page> {
    pairs().flatten()
}

#[test]
fn headings_are_of_the_same_levels() {
    for [page, translation] in pairs() {
        let longest = page.headings.len().max(translation.headings.len());
        for place in 0..longest {
            let [ours, theirs] = [&page, &translation].map(|page| page.headings.get(place));
            let said = |heading: Option<&(usize, String)>| {
                heading.map_or("(none)".to_owned(), |(_, line)| line.clone())
            };
            assert!(
                ours.map(|(level, _)| level) == theirs.map(|(level, _)| level),
                "heading {} of {} is `{}`, but that of {} is `{}`",
                place + 1,
                page.name,
                said(ours),
                translation.name,
                said(theirs)
            );
        }
    }
}

#[test]
fn fenced_blocks_are_the_same() {
    for [page, translation] in pairs() {
        let longest = page.blocks.len().max(translation.blocks.len());
        for place in 0..longest {
            let [ours, theirs] =
                [&page, &translation].map(|page| page.blocks.get(place).map_or("(none)", String::as_str));
            assert!(
                ours == theirs,
                "fenced block {} of {} is\n{ours}\nbut that of {} is\n{theirs}",
                place + 1,
                page.name,
                translation.name
            );
        }
    }
}

#[test]
fn links_lead_to_files() {
    for page in pages() {
        let file = root().join(page.name);
        let folder = file.parent().unwrap();
        let mut count = 0;
        for link in page.links() {
            count += 1;
            assert!(folder.join(link).exists(), "{}: the link `{link}` leads nowhere", page.name);
        }
        assert!(count > 0, "{} has no links", page.name);
    }
}

#[test]
fn commands_exist() {
    for page in pages() {
        let mut count = 0;
        for call in page.calls() {
            count += 1;
            let command = call.split_whitespace().next().unwrap_or_default();
            assert!(
                COMMANDS.contains(&command),
                "{}: there is no `kshot {command}`, in `kshot {call}`",
                page.name
            );
        }
        assert!(count > 0, "{} calls `kshot` nowhere", page.name);
    }
}
