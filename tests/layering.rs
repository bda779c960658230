//! The modules of the crate are a stack: this test reads every path in `src/` and fails on one that points up.
//!
//! Code for tests may, besides, use `seal` from anywhere, as the oracle. The modules that a server runs may not name the
//! secret key.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Bottom to top: a module uses only those before it.
const ORDER: [&str; 14] = [
    "error",
    "ring",
    "runtime",
    "scheme",
    "seal",
    "encoding",
    "encryption",
    "evaluator",
    "network",
    "plan",
    "protocol",
    "client",
    "program",
    "python",
];

/// What a server runs on ciphertexts.
const SERVER: [&str; 4] = ["evaluator", "network", "plan", "program"];

/// Names at the root of the crate, and the module that each comes from.
const REEXPORTS: [(&str, &str); 2] = [("Error", "error"), ("Result", "error")];

#[test]
fn every_path_points_down() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&root, &mut files);
    let sources: Vec<Source> = files.iter().map(|path| Source::read(&root, path)).collect();
    assert!(sources.len() > 10, "src/ was not found");
    let test_files: BTreeSet<PathBuf> = sources.iter().flat_map(Source::test_files).collect();
    let faults: Vec<String> = sources
        .iter()
        .filter(|source| source.path != root.join("lib.rs"))
        .flat_map(|source| source.faults(test_files.iter().any(|test| source.path.starts_with(test))))
        .collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn the_checker_sees_what_it_must() {
    let faults = |file: &str, code: &str| {
        let root = Path::new("/src");
        Source { path: root.join(file), module: module_path(root, &root.join(file)), tokens: tokens(code) }
            .faults(false)
    };
    for wrong in [
        "use crate::network::Network;",
        "use crate::{error::{Error, Result}, network};",
        "pub(crate) fn f() { crate::network::f(); }",
        "use super::super::network::Network;",
        "mod inner { use super::super::super::network; }",
        "use crate::nowhere;",
        "fn f(key: &SecretKey) {}",
        "#[cfg(test)] mod tests { use crate::network; }",
    ] {
        assert_eq!(faults("evaluator/affine.rs", wrong).len(), 1, "{wrong}");
    }
    for right in [
        "use crate::{Error, Result, scheme::Ciphertext}; use super::affine; use crate::evaluator::square;",
        "/// [`SecretKey`](crate::network) \n fn f() { \"crate::network\"; r#\"\"crate::network\"#; '\"'; }",
        "#[cfg(test)] mod tests { use crate::scheme::SecretKey; fn f<'a>() { '\\''; } }",
        "#[cfg(test)] use crate::seal::Sealer; /* /* crate::network */ crate::network */",
    ] {
        assert_eq!(faults("evaluator/affine.rs", right), Vec::<String>::new(), "{right}");
    }
    assert_eq!(faults("ring/ntt.rs", "#[cfg(test)] mod tests { use crate::seal::f; }").len(), 0);
    assert_eq!(faults("ring/ntt.rs", "#[cfg(test)] mod tests { } use crate::seal::f;").len(), 1);
}

/// One file: its place in the tree of modules, and its tokens without comments, strings and characters.
struct Source {
    path: PathBuf,
    module: Vec<String>,
    tokens: Vec<Token>,
}

struct Token {
    text: String,
    line: usize,
}

impl Source {
    fn read(root: &Path, path: &Path) -> Self {
        let code = fs::read_to_string(path).unwrap();
        Self { path: path.to_owned(), module: module_path(root, path), tokens: tokens(&code) }
    }

    fn text(&self, index: usize) -> &str {
        self.tokens.get(index).map_or("", |token| &token.text)
    }

    /// Where the item that begins at `start` ends: after its braces, or its semicolon.
    fn item_end(&self, start: usize) -> usize {
        let mut depth = 0;
        for index in start..self.tokens.len() {
            match self.text(index) {
                "{" | "[" | "(" => depth += 1,
                "}" | "]" | ")" => {
                    depth -= 1;
                    if depth == 0 && self.text(index) == "}" {
                        return index + 1;
                    }
                }
                ";" if depth == 0 => return index + 1,
                _ => {}
            }
        }
        self.tokens.len()
    }

    /// The items under `#[cfg(test)]`, as ranges of tokens.
    fn test_items(&self) -> Vec<std::ops::Range<usize>> {
        const ATTRIBUTE: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
        (0..self.tokens.len())
            .filter(|&start| ATTRIBUTE.iter().enumerate().all(|(i, text)| self.text(start + i) == *text))
            .map(|start| start + ATTRIBUTE.len()..self.item_end(start + ATTRIBUTE.len()))
            .collect()
    }

    /// The files, and folders of files, that this one includes under `#[cfg(test)]`.
    fn test_files(&self) -> Vec<PathBuf> {
        let folder = match self.path.file_stem().and_then(|stem| stem.to_str()) {
            Some("mod" | "lib") | None => self.path.with_file_name(""),
            Some(_) => self.path.with_extension(""),
        };
        self.test_items()
            .into_iter()
            .filter(|item| self.text(item.end - 1) == ";" && self.text(item.end - 3) == "mod")
            .flat_map(|item| {
                let name = self.text(item.end - 2);
                [folder.join(format!("{name}.rs")), folder.join(name)]
            })
            .collect()
    }

    fn faults(&self, only_tests: bool) -> Vec<String> {
        let test_items = self.test_items();
        let own = &self.module[0];
        let rank = |module: &str| ORDER.iter().position(|name| *name == module);
        let mut faults = Vec::new();
        let mut fault = |token: usize, what: String| {
            faults.push(format!("{}:{}: {what}", self.path.display(), self.tokens[token].line));
        };
        let Some(own_rank) = rank(own) else {
            fault(0, format!("module `{own}` has no place in ORDER"));
            return faults;
        };
        for (index, used) in self.uses() {
            let test = only_tests || test_items.iter().any(|item| item.contains(&index));
            let used = REEXPORTS.iter().find(|(name, _)| *name == used).map_or(used.as_str(), |(_, module)| module);
            match rank(used) {
                None => fault(index, format!("`crate::{used}` is not a module in ORDER")),
                Some(rank) if rank > own_rank && !(test && used == "seal") => {
                    fault(index, format!("`{own}` must not use `{used}`"));
                }
                Some(_) => {}
            }
        }
        for (index, token) in self.tokens.iter().enumerate() {
            let test = only_tests || test_items.iter().any(|item| item.contains(&index));
            if token.text == "SecretKey" && SERVER.contains(&own.as_str()) && !test {
                fault(index, format!("`{own}` runs on the server and must not name the secret key"));
            }
        }
        faults
    }

    /// Every mention of a name at the root of the crate: by `crate::`, or by enough `super::`.
    fn uses(&self) -> Vec<(usize, String)> {
        let mut uses = Vec::new();
        let mut braces = Vec::new();
        let mut index = 0;
        while index < self.tokens.len() {
            match self.text(index) {
                "{" => braces.push(index >= 2 && self.text(index - 2) == "mod"),
                "}" => drop(braces.pop()),
                "crate" if self.text(index + 1) == "::" => self.branches(index + 2, &mut uses),
                "super" => {
                    let depth = self.module.len() + braces.iter().filter(|is_module| **is_module).count();
                    let mut steps = 1;
                    while self.text(index + 1) == "::" && self.text(index + 2) == "super" {
                        steps += 1;
                        index += 2;
                    }
                    if steps == depth {
                        self.branches(index + 2, &mut uses);
                    }
                }
                _ => {}
            }
            index += 1;
        }
        uses
    }

    /// The first name of a path that starts at `index`, or of each branch of a `{...}` there.
    fn branches(&self, index: usize, uses: &mut Vec<(usize, String)>) {
        if self.text(index) != "{" {
            uses.push((index, self.text(index).to_owned()));
            return;
        }
        let mut depth = 0;
        for place in index..self.tokens.len() {
            match self.text(place) {
                "{" => depth += 1,
                "}" if depth == 1 => return,
                "}" => depth -= 1,
                name if depth == 1 && matches!(self.text(place - 1), "{" | ",") => uses.push((place, name.to_owned())),
                _ => {}
            }
        }
    }
}

/// `src/ring/ntt.rs` is `["ring", "ntt"]`.
fn module_path(root: &Path, path: &Path) -> Vec<String> {
    let relative = path.strip_prefix(root).unwrap().with_extension("");
    let mut parts: Vec<String> = relative.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if parts.len() > 1 {
        parts.retain(|part| part != "mod");
    }
    parts
}

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Words, `::` and single signs; comments, strings and character literals are left out.
fn tokens(code: &str) -> Vec<Token> {
    let chars: Vec<char> = code.chars().collect();
    let at = |index: usize| chars.get(index).copied().unwrap_or('\0');
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut tokens: Vec<Token> = Vec::new();
    let (mut index, mut line) = (0, 1);
    while index < chars.len() {
        let start = index;
        match (at(index), at(index + 1)) {
            ('/', '/') => index += chars[index..].iter().take_while(|c| **c != '\n').count(),
            ('/', '*') => {
                let mut depth = 0;
                loop {
                    match (at(index), at(index + 1)) {
                        ('/', '*') => (depth, index) = (depth + 1, index + 2),
                        ('*', '/') => (depth, index) = (depth - 1, index + 2),
                        _ => index += 1,
                    }
                    if depth == 0 || index >= chars.len() {
                        break;
                    }
                }
            }
            ('"', _) => index = string_end(&chars, index),
            ('r', '"' | '#') | ('b', '"') if raw_or_byte_string(&chars, index) => {
                let hashes = chars[index + 1..].iter().take_while(|c| **c == '#').count();
                index = if at(index) == 'b' {
                    string_end(&chars, index + 1)
                } else {
                    let close: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
                    let body = index + 2 + hashes;
                    let length = chars[body..].windows(close.len()).position(|window| window == close);
                    length.map_or(chars.len(), |length| body + length + close.len())
                };
            }
            ('\'', '\\') => index += 3 + chars[index + 3..].iter().take_while(|c| **c != '\'').count() + 1,
            ('\'', _) if at(index + 2) == '\'' => index += 3,
            (':', ':') => index += 2,
            (c, _) if is_word(c) => index += chars[index..].iter().take_while(|c| is_word(**c)).count(),
            _ => index += 1,
        }
        index = index.min(chars.len());
        let first = chars[start];
        let is_text = first == '"' || (first == '\'' && index > start + 1) || chars[start..index].contains(&'"');
        let is_comment = first == '/' && matches!(at(start + 1), '/' | '*');
        if !first.is_whitespace() && !is_text && !is_comment {
            tokens.push(Token { text: chars[start..index].iter().collect(), line });
        }
        line += chars[start..index].iter().filter(|c| **c == '\n').count();
    }
    tokens
}

fn raw_or_byte_string(chars: &[char], index: usize) -> bool {
    chars[index + 1..].iter().find(|c| **c != '#') == Some(&'"')
}

/// The index after the closing quote of the string that opens at `index`.
fn string_end(chars: &[char], mut index: usize) -> usize {
    index += 1;
    while index < chars.len() && chars[index] != '"' {
        index += if chars[index] == '\\' { 2 } else { 1 };
    }
    index + 1
}
