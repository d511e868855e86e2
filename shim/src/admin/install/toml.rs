//! Changes of a TOML text by the positions in the text: the unchanged parts keep every byte, comments included.

use std::ops::Range;

use toml_edit::{Document, Item, Key, Table};

use super::error::EditError;

/// Parses a text.
///
/// # Errors
/// [`EditError::Toml`].
pub fn parse(text: &str) -> Result<Document<&str>, EditError> {
    Document::parse(text).map_err(|error| Box::new(error).into())
}

/// The item at a path; for the empty path the whole document.
pub fn find<'d>(document: &'d Document<&str>, path: &[&str]) -> Option<&'d Item> {
    path.iter().try_fold(document.as_item(), |item, key| item.get(key))
}

/// Sets `key` in the table at `path` to a value that is written as TOML. A missing table is added at the end.
///
/// # Errors
/// [`EditError`]; [`EditError::Shape`] if no line of its own can hold the key, as in an inline table.
pub fn set(text: &str, path: &[&str], key: &str, value: &str) -> Result<String, EditError> {
    let document = parse(text)?;
    let line = format!("{} = {value}", quoted(key));
    let after = match find(&document, path) {
        Some(table) if table.get(key).is_some() => {
            let old = table.get(key).and_then(Item::as_value).and_then(toml_edit::Value::span);
            splice(text, old.ok_or_else(|| shape(path, key))?, value)
        }
        Some(Item::Table(table)) if has_header(table) => {
            let last = last_place(table).ok_or_else(|| shape(path, key))?;
            let (indent, end) = (indent(text, last.start), end_of_line(text, last.end));
            splice(text, end..end, &format!("\n{indent}{line}"))
        }
        _ => {
            format!("{text}{}[{}]\n{line}\n", gap(text), header(path))
        }
    };
    // There is an inline table or a dotted key on the path: TOML has no other line for the same table.
    let whole = [path, &[key]].concat();
    match parse(&after) {
        Ok(document) if find(&document, &whole).is_some() => Ok(after),
        _ => Err(shape(path, key)),
    }
}

/// Removes the lines of the item at `path`, if there is one: a key, or a table with its content.
///
/// # Errors
/// [`EditError`]; [`EditError::Shape`] for a part of an inline table.
pub fn remove(text: &str, path: &[&str]) -> Result<String, EditError> {
    let document = parse(text)?;
    let Some((last, parents)) = path.split_last() else { return Ok(text.to_owned()) };
    let Some(item) = find(&document, path) else { return Ok(text.to_owned()) };
    let inline = |depth| find(&document, &parents[..depth]).is_some_and(Item::is_value);
    let parent = find(&document, parents).and_then(Item::as_table_like);
    let key = parent.and_then(|parent| parent.get_key_value(last)).map(|(key, _)| key);
    let (false, Some(key)) = ((0..=parents.len()).any(inline), key) else {
        return Err(shape(parents, last));
    };
    let mut places = Vec::new();
    collect(key, item, &mut places);
    Ok(without(text, places))
}

/// Adds a table with these strings to the array of tables at `path`, at the end of the text.
///
/// # Errors
/// [`EditError`]; [`EditError::Shape`] for an array in one line.
pub fn push(text: &str, path: &[&str], keys: &[(&str, &str)]) -> Result<String, EditError> {
    let lines = keys.iter().map(|(key, value)| format!("{} = {}\n", quoted(key), string(value)));
    let after = format!("{text}{}[[{}]]\n{}", gap(text), header(path), lines.collect::<String>());
    match (parse(&after), path.split_last()) {
        (Ok(_), _) | (_, None) => Ok(after),
        (Err(_), Some((last, parents))) => Err(shape(parents, last)),
    }
}

/// Removes the lines of some tables of the array of tables at `path`, if there is one.
///
/// # Errors
/// [`EditError`].
pub fn remove_tables(
    text: &str,
    path: &[&str],
    which: impl Fn(&Table) -> bool,
) -> Result<String, EditError> {
    let document = parse(text)?;
    let tables = find(&document, path).and_then(Item::as_array_of_tables);
    let mut places = Vec::new();
    let chosen = tables.into_iter().flat_map(|tables| tables.iter()).filter(|table| which(table));
    chosen.for_each(|table| table_places(table, Below::Included, &mut places));
    Ok(without(text, places))
}

/// The text without the lines of these positions.
fn without(text: &str, places: Vec<Range<usize>>) -> String {
    let mut lines: Vec<_> = places.into_iter().map(|place| whole_lines(text, place)).collect();
    lines.sort_by_key(|lines| lines.start);
    let mut after = String::with_capacity(text.len());
    let mut kept = 0;
    for lines in lines {
        // Keys of one line share that line.
        after.push_str(text.get(kept..lines.start).unwrap_or_default());
        kept = kept.max(lines.end);
    }
    after.push_str(&text[kept..]);
    after
}

/// Removes `key`, if it exists, from the table at `path`. If the table is empty then, its header is removed, too,
/// unless the header was there before.
///
/// # Errors
/// [`EditError`].
pub fn remove_key(text: &str, path: &[&str], key: &str, before: &str) -> Result<String, EditError> {
    let after = remove(text, &[path, &[key]].concat())?;
    let (document, before) = (parse(&after)?, parse(before)?);
    let header = |document| {
        let table = find(document, path).and_then(Item::as_table).filter(|table| has_header(table));
        table.map(|table| (table.span(), last_place(table)))
    };
    match (header(&document), header(&before)) {
        (Some((Some(place), last)), None) if after != text && last.as_ref() == Some(&place) => {
            Ok(splice(&after, whole_lines(&after, place), ""))
        }
        _ => Ok(after),
    }
}

/// Restores the earlier value of `key` if `key` has the value `ours` now; without an earlier value the key is removed.
///
/// # Errors
/// [`EditError`].
pub fn restore(
    text: &str,
    path: &[&str],
    key: &str,
    ours: &str,
    before: &str,
) -> Result<String, EditError> {
    let whole = [path, &[key]].concat();
    if find(&parse(text)?, &whole).and_then(Item::as_str) != Some(ours) {
        return Ok(text.to_owned());
    }
    match find(&parse(before)?, &whole).and_then(Item::as_str) {
        Some(old) if old != ours => set(text, path, key, &string(old)),
        _ => remove_key(text, path, key, before),
    }
}

/// A string in TOML's form.
pub fn string(text: &str) -> String {
    // JSON's escapes are valid in TOML. Only DEL, which JSON does not escape, must be escaped.
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

fn quoted(key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !key.is_empty() && key.chars().all(bare) { key.to_owned() } else { string(key) }
}

/// What separates a new table from the text above it.
fn gap(text: &str) -> &'static str {
    match text {
        "" => "",
        _ if text.ends_with('\n') => "\n",
        _ => "\n\n",
    }
}

/// What stands between the brackets of a table's header.
fn header(path: &[&str]) -> String {
    path.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(".")
}

fn has_header(table: &Table) -> bool {
    !table.is_implicit() && !table.is_dotted() && table.span().is_some()
}

/// The positions of a table's header and its own keys, and of everything below the table.
fn collect(key: &Key, item: &Item, places: &mut Vec<Range<usize>>) {
    match item {
        Item::Table(table) => table_places(table, Below::Included, places),
        Item::ArrayOfTables(tables) => {
            tables.iter().for_each(|table| table_places(table, Below::Included, places));
        }
        Item::Value(value) => {
            let key = key.span().map(|key| key.start);
            places.extend(key.zip(value.span()).map(|(start, value)| start..value.end));
        }
        Item::None => {}
    }
}

/// The tables with a header of their own below a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Below {
    Included,
    LeftOut,
}

fn table_places(table: &Table, tables: Below, places: &mut Vec<Range<usize>>) {
    places.extend(table.span().filter(|_| has_header(table)));
    for (name, item) in table {
        let is_below = item.as_table().is_some_and(|table| !table.is_dotted());
        if let Some((key, _)) =
            table.get_key_value(name).filter(|_| tables == Below::Included || !is_below)
        {
            collect(key, item, places);
        }
    }
}

/// The position of a table's last key, or of its header.
fn last_place(table: &Table) -> Option<Range<usize>> {
    let mut places = Vec::new();
    table_places(table, Below::LeftOut, &mut places);
    places.into_iter().max_by_key(|place| place.start)
}

fn splice(text: &str, place: Range<usize>, new: &str) -> String {
    [&text[..place.start], new, &text[place.end..]].concat()
}

/// The lines of a position, with the empty line above a header.
fn whole_lines(text: &str, place: Range<usize>) -> Range<usize> {
    let mut start = start_of_line(text, place.start);
    if text[place.start..].starts_with('[') {
        let above = &text[..start];
        start -= ["\n\n", "\r\n\r\n"]
            .iter()
            .find(|gap| above.ends_with(**gap))
            .map_or(0, |gap| gap.len() / 2);
    }
    start..(end_of_line(text, place.end) + 1).min(text.len())
}

fn start_of_line(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |newline| newline + 1)
}

fn end_of_line(text: &str, at: usize) -> usize {
    text[at..].find('\n').map_or(text.len(), |newline| at + newline)
}

fn indent(text: &str, at: usize) -> &str {
    let line = &text[start_of_line(text, at)..at];
    &line[..line.len() - line.trim_start().len()]
}

fn shape(path: &[&str], key: &str) -> EditError {
    let key = [path, &[key]].concat().join(".");
    EditError::Shape { key, wanted: "in a table with lines of its own" }
}

#[cfg(test)]
#[path = "toml_tests.rs"]
mod tests;
