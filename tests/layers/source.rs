//! Reads as much of a Rust source as the layer test needs: which paths it names, and how long it is without its tests.
//!
//! Not a parser: tokens are enough to tell `use` trees and paths from all else, inside macros as well.

use std::iter::Peekable;
use std::slice;

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// What one file says.
#[derive(Debug)]
pub(crate) struct Source {
    /// Paths that it names, those in items under `#[cfg(test)]` aside.
    pub(crate) imports: Vec<Import>,
    /// How long it is, without these items.
    pub(crate) lines: usize,
}

/// A path that a file names.
#[derive(Debug)]
pub(crate) struct Import {
    /// Its parts. First `crate` if it lies in this crate (`self` and `super` are worked out), else what may be the name
    /// of another crate.
    pub(crate) path: Vec<String>,
    /// Where it stands, from 1.
    pub(crate) line: usize,
}

/// Module that the file at `path` (relative to `src`) is: `store/sqlite/mod.rs` is `store::sqlite`.
pub(crate) fn module_of(path: &str) -> Vec<String> {
    let path = path.trim_end_matches(".rs");
    let path = path.strip_suffix("/mod").unwrap_or(path);
    path.split('/').map(str::to_owned).collect()
}

type Tokens<'t> = Peekable<slice::Iter<'t, TokenTree>>;

impl Source {
    /// Reads `text`, the file of `module`.
    pub(crate) fn read(module: &[String], text: &str) -> Self {
        let tokens: TokenStream = text.parse().expect("the source compiles");
        let mut source = Self {
            imports: Vec::new(),
            lines: text.lines().count(),
        };
        source.block(&mut module.to_vec(), tokens);
        source
    }

    /// Reads what stands between two brackets, or in the whole file, of `module`.
    fn block(&mut self, module: &mut Vec<String>, tokens: TokenStream) {
        let tokens: Vec<_> = tokens.into_iter().collect();
        let mut tokens = tokens.iter().peekable();
        while let Some(token) = tokens.next() {
            match token {
                TokenTree::Punct(punct) if punct.as_char() == '#' => match tokens.peek() {
                    Some(TokenTree::Group(attribute)) if attribute.stream().to_string() == "cfg (test)" => {
                        let last = skip_item(&mut tokens);
                        self.lines -= last - line(token) + 1;
                    }
                    _ => {}
                },
                // An arrow closes nothing, and two dots call nothing: a path may begin behind them.
                TokenTree::Punct(punct) if matches!(punct.as_char(), '-' | '=') && next_is(&mut tokens, '>') => {
                    tokens.next();
                }
                TokenTree::Punct(punct) if punct.as_char() == '.' => {
                    let is_range = tokens.next_if(|next| is_punct(next, '.')).is_some();
                    if !is_range {
                        tokens.next_if(|next| matches!(next, TokenTree::Ident(_)));
                    }
                }
                TokenTree::Punct(punct) if punct.as_char() == '>' => {
                    further_segments(&mut tokens);
                }
                TokenTree::Ident(word) if word == "use" && !next_is(&mut tokens, '<') => {
                    self.use_tree(module, &[], &mut tokens);
                }
                TokenTree::Ident(word) if word == "crate" && !next_is(&mut tokens, ':') => {
                    if let Some(TokenTree::Ident(name)) = tokens.peek() {
                        self.note(module, vec![name.to_string()], line(token));
                    }
                }
                TokenTree::Ident(word) if word == "mod" => {
                    let name = tokens.next().map(ToString::to_string);
                    if let (Some(name), Some(TokenTree::Group(body))) = (name, tokens.peek()) {
                        module.push(name);
                        self.block(module, body.stream());
                        module.pop();
                        tokens.next();
                    }
                }
                TokenTree::Ident(word) if !is_keyword(&word.to_string()) => {
                    let mut path = vec![word.to_string()];
                    path.extend(further_segments(&mut tokens));
                    if path.len() > 1 {
                        self.note(module, path, line(token));
                    }
                }
                TokenTree::Group(group) => self.block(module, group.stream()),
                _ => {}
            }
        }
    }

    /// Reads one branch of a `use` tree, as far as a comma or semicolon. `stem` is what stands before it.
    fn use_tree(&mut self, module: &mut Vec<String>, stem: &[String], tokens: &mut Tokens<'_>) {
        let mut path = stem.to_vec();
        let mut at = tokens.peek().map_or(0, |token| line(token));
        let mut renamed = false;
        for token in tokens.by_ref() {
            match token {
                TokenTree::Punct(punct) if matches!(punct.as_char(), ',' | ';') => break,
                TokenTree::Ident(word) if word == "as" => renamed = true,
                TokenTree::Ident(word) if !renamed => {
                    path.push(word.to_string());
                    at = line(token);
                }
                TokenTree::Group(branches) => {
                    let branches: Vec<_> = branches.stream().into_iter().collect();
                    let mut branches = branches.iter().peekable();
                    while branches.peek().is_some() {
                        self.use_tree(module, &path, &mut branches);
                    }
                    path.clear();
                }
                _ => {}
            }
        }
        if !path.is_empty() {
            self.note(module, path, at);
        }
    }

    fn note(&mut self, module: &[String], path: Vec<String>, line: usize) {
        let supers = path.iter().take_while(|part| *part == "super").count();
        let within = match path[0].as_str() {
            "self" => Some((module.len(), 1)),
            "super" => Some((module.len().saturating_sub(supers), supers)),
            _ => None,
        };
        let path = match within {
            Some((depth, skip)) => ["crate".to_owned()]
                .iter()
                .chain(&module[..depth])
                .chain(&path[skip..])
                .cloned()
                .collect(),
            None => path,
        };
        self.imports.push(Import { path, line });
    }
}

fn line(token: &TokenTree) -> usize {
    token.span().start().line
}

fn next_is(tokens: &mut Tokens<'_>, wanted: char) -> bool {
    tokens.peek().is_some_and(|next| is_punct(next, wanted))
}

fn is_punct(token: &TokenTree, wanted: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == wanted)
}

/// Words that may stand before a path that begins with `::`, and begin none themselves.
fn is_keyword(word: &str) -> bool {
    matches!(
        word,
        "as" | "const" | "dyn" | "for" | "impl" | "in" | "mut" | "ref" | "return" | "where"
    )
}

/// Takes `::a::b`, as far as it goes.
fn further_segments(tokens: &mut Tokens<'_>) -> Vec<String> {
    let mut segments = Vec::new();
    while next_is(tokens, ':') {
        let mut ahead = tokens.clone();
        ahead.next();
        if !next_is(&mut ahead, ':') {
            break;
        }
        ahead.next();
        let Some(TokenTree::Ident(segment)) = ahead.next() else {
            break;
        };
        segments.push(segment.to_string());
        *tokens = ahead;
    }
    segments
}

/// Passes over an item, from its attribute's brackets to its end, and returns the line that it ends on.
fn skip_item(tokens: &mut Tokens<'_>) -> usize {
    let mut is_use = false;
    let mut last = 0;
    for token in tokens.by_ref() {
        last = token.span().end().line;
        match token {
            TokenTree::Ident(word) if word == "use" => is_use = true,
            TokenTree::Punct(punct) if punct.as_char() == ';' => break,
            TokenTree::Group(group) if ends_item(group) && !is_use => break,
            _ => {}
        }
    }
    last
}

fn ends_item(group: &Group) -> bool {
    group.delimiter() == Delimiter::Brace
}
