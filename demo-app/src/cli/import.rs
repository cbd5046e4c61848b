//! `demo-app users import`.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use auth_layer::UserId;
use clap::ValueEnum;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};

use super::{
    CommandError,
    output::{Format, Report, bar, table},
};
use crate::{
    audit::{Audit, Event},
    password::check_hash,
    users::{AddOutcome, Role, User, Users, check_username},
};

/// How many users are added at a time.
const AT_A_TIME: usize = 64;

/// How users are written in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ImportFormat {
    /// Comma-separated values, with the names of the columns in the first line.
    Csv,
    /// One JSON object a line.
    Jsonl,
}

/// A user of the file. Other columns and members are ignored.
#[derive(Deserialize)]
struct Row {
    username: String,
    password_hash: String,
    role: Option<Role>,
    user_id: Option<UserId>,
}

/// What became of a file.
#[derive(Default, Serialize)]
pub(super) struct Imported {
    imported: u64,
    /// Users who were there already, with this hash.
    unchanged: u64,
    refused: Vec<Refusal>,
}

#[derive(Serialize)]
struct Refusal {
    line: u64,
    username: Option<String>,
    reason: String,
}

/// A user of a line, or why there is none.
type Line = (u64, Result<Row, String>);

enum Added {
    New,
    Unchanged,
}

/// Adds the users of a file, `-` for standard input.
///
/// It may be repeated: users who are there with the same hash are left as they are.
pub(super) async fn import(
    users: &Users,
    path: &Path,
    file_format: Option<ImportFormat>,
    format: Format,
) -> Result<(), CommandError> {
    let cannot_read = |error| CommandError::Import { path: path.display().to_string(), error };
    let progress;
    let input: Box<dyn Read> = if path == Path::new("-") {
        progress = bar(None);
        Box::new(io::stdin())
    } else {
        let file = File::open(path).map_err(cannot_read)?;
        progress = bar(file.metadata().ok().map(|metadata| metadata.len()));
        Box::new(file)
    };
    let input = progress.wrap_read(input);
    let mut lines: Box<dyn Iterator<Item = io::Result<Line>>> =
        match file_format.or_else(|| by_extension(path)).ok_or(CommandError::ImportFormat)? {
            ImportFormat::Csv => Box::new(csv_lines(input).map_err(cannot_read)?),
            ImportFormat::Jsonl => Box::new(json_lines(input)),
        };
    let mut report = Imported::default();
    loop {
        let group: Vec<Line> = lines.by_ref().take(AT_A_TIME).collect::<io::Result<_>>().map_err(cannot_read)?;
        if group.is_empty() {
            break;
        }
        let added = join_all(group.into_iter().map(|(line, row)| async move {
            let username = row.as_ref().ok().map(|row| row.username.clone());
            let added = match row {
                Ok(row) => add(users, row).await?,
                Err(reason) => Err(reason),
            };
            Ok::<_, CommandError>((line, username, added))
        }));
        for added in added.await {
            match added? {
                (_, _, Ok(Added::New)) => report.imported += 1,
                (_, _, Ok(Added::Unchanged)) => report.unchanged += 1,
                (line, username, Err(reason)) => report.refused.push(Refusal { line, username, reason }),
            }
        }
    }
    progress.finish_and_clear();
    format.print(&report)?;
    match report.refused.len() {
        0 => Ok(()),
        refused => Err(CommandError::NotImported(refused)),
    }
}

fn by_extension(path: &Path) -> Option<ImportFormat> {
    match path.extension().and_then(OsStr::to_str)? {
        "csv" => Some(ImportFormat::Csv),
        "jsonl" | "ndjson" => Some(ImportFormat::Jsonl),
        _ => None,
    }
}

fn csv_lines(input: impl Read) -> io::Result<impl Iterator<Item = io::Result<Line>>> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(input);
    let headers = reader.headers()?.clone();
    Ok(reader.into_records().map(move |record| match record {
        Ok(record) => {
            let line = record.position().map_or(0, csv::Position::line);
            Ok((line, record.deserialize(Some(&headers)).map_err(|error| describe_csv(&error))))
        }
        Err(error) => match (error.is_io_error(), error.position()) {
            (false, Some(position)) => Ok((position.line(), Err(describe_csv(&error)))),
            _ => Err(error.into()),
        },
    }))
}

/// Says what is wrong with a line. The crate's own text has the line's number, too.
fn describe_csv(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::Deserialize { err, .. } => err.kind().to_string(),
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("it has {len} fields, and the first line has {expected_len}")
        }
        csv::ErrorKind::Utf8 { .. } => "it is not UTF-8".to_owned(),
        _ => error.to_string(),
    }
}

fn json_lines(input: impl Read) -> impl Iterator<Item = io::Result<Line>> {
    BufReader::new(input).split(b'\n').zip(1..).filter_map(|(line, number)| match line {
        Ok(line) if line.trim_ascii().is_empty() => None,
        Ok(line) => Some(Ok((number, serde_json::from_slice(&line).map_err(|error| describe_json(&error))))),
        Err(error) => Some(Err(error)),
    })
}

/// Says what is wrong with a line, without the crate's "at line 1".
fn describe_json(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what).to_owned()
}

/// Adds a user. The inner error says why the user is refused.
async fn add(users: &Users, row: Row) -> Result<Result<Added, String>, CommandError> {
    let Row { username, password_hash, role, user_id } = row;
    if let Err(rule) = check_username(&username) {
        return Ok(Err(format!("the username {rule}")));
    }
    if let Err(reason) = check_hash(&password_hash) {
        return Ok(Err(format!("the password's hash is {reason}")));
    }
    let new = User::new(username, password_hash, role.unwrap_or(Role::User));
    let user = User { user_id: user_id.unwrap_or(new.user_id), ..new };
    match users.add(user.clone()).await? {
        AddOutcome::Added => {
            Audit::begin(Event::UserCreated).user(user.user_id).claimed(&user.username).granted();
            Ok(Ok(Added::New))
        }
        AddOutcome::Taken => Ok(match users.by_name(&user.username).await? {
            Some(there) if there.password_hash == user.password_hash => Ok(Added::Unchanged),
            Some(_) => Err("the username is taken".to_owned()),
            None => Err("the user id is taken".to_owned()),
        }),
    }
}

impl Report for Imported {
    fn text(&self) -> String {
        let mut parts = vec![format!("imported {}", self.imported)];
        if self.unchanged > 0 {
            parts.push(format!("already there {}", self.unchanged));
        }
        if !self.refused.is_empty() {
            let rows = self.refused.iter().map(|refusal| {
                [refusal.line.to_string(), refusal.username.clone().unwrap_or_default(), refusal.reason.clone()]
            });
            let table = table(["LINE", "USERNAME", "REASON"], rows);
            parts.push(format!("refused {}:\n{table}", self.refused.len()));
        }
        parts.join(", ")
    }
}
