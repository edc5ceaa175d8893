//! A list of devices: CSV with a header, or JSONL.
//!
//! Columns, or keys: `chain`, the path of the file that the device sends; and where known `registration_id`, `key`, the
//! path of its private key, and `at`, as of when it is judged. Paths are relative to the list's own directory; other
//! columns are passed over.

use super::inputs::{Asking, Content, Input, KeyFile, Unreadable, name, unread};
use crate::cli::moment;
use crate::exit::Failure;
use csv::StringRecord;
use serde::Deserialize;
use sim_protocol::RegistrationId;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

/// The longest line of a JSONL manifest.
const LONGEST_LINE: u64 = 64 << 10;

/// A manifest that is being read.
pub struct Manifest {
    name: String,
    directory: PathBuf,
    rows: Rows,
}

enum Rows {
    Csv(Box<csv::StringRecordsIntoIter<LinesEndInLf<File>>>, Columns),
    Lines(BufReader<File>, usize),
    Ended,
}

/// Where the columns are.
struct Columns {
    chain: usize,
    registration_id: Option<usize>,
    key: Option<usize>,
    at: Option<usize>,
}

/// A row as it is written.
#[derive(Debug, Deserialize)]
struct Row {
    chain: String,
    #[serde(default, alias = "registrationId")]
    registration_id: Option<String>,
    #[serde(default)]
    key: Option<String>,
    #[serde(default)]
    at: Option<Moment>,
}

/// A moment: text as in flags, or Unix seconds.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Moment {
    Seconds(i64),
    Text(String),
}

/// Whether a file is a manifest by its name.
pub fn is_manifest(path: &Path) -> bool {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    ["csv", "jsonl", "ndjson"].iter().any(|known| extension.eq_ignore_ascii_case(known))
}

impl Manifest {
    /// Opens a manifest; CSV where its name ends in `.csv`, else JSONL.
    ///
    /// # Errors
    /// With [`crate::exit::Exit::Usage`] where the file cannot be read, or its header has no column `chain`.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let name = name(path);
        let file = File::open(path).map_err(|error| unread(&name, &error))?;
        let is_csv = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("csv"));
        let rows = if is_csv { csv_rows(&name, file)? } else { Rows::Lines(BufReader::new(file), 0) };
        let directory = path.parent().unwrap_or(Path::new("")).to_owned();
        Ok(Manifest { name, directory, rows })
    }

    /// The next row and its line.
    fn row(&mut self) -> Option<Result<(u64, Row), (u64, String)>> {
        match &mut self.rows {
            Rows::Csv(records, columns) => {
                let row = records.next().map(|record| columns.row(record));
                if matches!(&row, Some(Err((_, true, _)))) {
                    self.rows = Rows::Ended;
                }
                row.map(|row| row.map_err(|(line, _, fault)| (line, fault)))
            }
            Rows::Lines(reader, line) => {
                let row = json_line(reader, line);
                if matches!(&row, Some(Err((_, true, _)))) {
                    self.rows = Rows::Ended;
                }
                row.map(|row| row.map_err(|(line, _, fault)| (line, fault)))
            }
            Rows::Ended => None,
        }
    }

    fn input(&self, line: u64, row: Row) -> Result<Input, String> {
        let filled = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
        if row.chain.trim().is_empty() {
            return Err("it names no chain".to_owned());
        }
        let id =
            filled(row.registration_id).map(RegistrationId::new).transpose().map_err(|e| e.to_string())?;
        let at = row.at.map(|at| at.seconds()).transpose()?.flatten();
        let key = filled(row.key).map_or(KeyFile::None, |key| KeyFile::Named(self.directory.join(key)));
        Ok(Input {
            label: format!("{}, line {line}", self.name),
            asking: Asking { registration_id: id, at, id_of_name: None },
            mixed: false,
            content: Content::Files { chain: self.directory.join(&row.chain), key },
        })
    }
}

impl Iterator for Manifest {
    type Item = Result<Input, Unreadable>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.row()?;
        let input = row.and_then(|(line, row)| self.input(line, row).map_err(|fault| (line, fault)));
        Some(input.map_err(|(line, fault)| {
            let failure = Failure::usage(format!("cannot read {}, line {line}: {fault}", self.name))
                .advise("Give each device's chain, and where known registration_id, key and at.");
            Unreadable::new(format!("{}, line {line}", self.name), failure)
        }))
    }
}

/// A row, or its line, whether nothing can come after it, and why it cannot be read.
type Parsed = Result<(u64, Row), (u64, bool, String)>;

fn csv_rows(name: &str, file: File) -> Result<Rows, Failure> {
    let fault = |reason: &dyn std::fmt::Display| {
        Failure::usage(format!("cannot read {name}, line 1: {reason}")).advise(
            "Begin with a line that names the columns: chain, and where known registration_id, key and at.",
        )
    };
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(LinesEndInLf(file));
    let columns = Columns::of(reader.headers().map_err(|error| fault(&error))?);
    let columns = columns.ok_or_else(|| fault(&"it names no column `chain`"))?;
    Ok(Rows::Csv(Box::new(reader.into_records()), columns))
}

/// Leaves every CR out: where lines end in CR LF, the parser says of each row that it is on the line before.
struct LinesEndInLf<R>(R);

impl<R: io::Read> io::Read for LinesEndInLf<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.0.read(buffer)?;
            let mut kept = 0;
            for i in 0..read {
                if buffer[i] != b'\r' {
                    buffer[kept] = buffer[i];
                    kept += 1;
                }
            }
            if kept > 0 || read == 0 {
                return Ok(kept);
            }
        }
    }
}

impl Columns {
    fn of(header: &StringRecord) -> Option<Self> {
        let place = |names: &[&str]| {
            header.iter().position(|field| {
                // Some programs begin a file with a byte-order mark.
                let field = field.trim_start_matches('\u{feff}').trim();
                names.iter().any(|name| field.eq_ignore_ascii_case(name))
            })
        };
        Some(Columns {
            chain: place(&["chain"])?,
            registration_id: place(&["registration_id", "registrationId"]),
            key: place(&["key"]),
            at: place(&["at"]),
        })
    }

    fn row(&self, record: csv::Result<StringRecord>) -> Parsed {
        let record = record.map_err(|error| {
            let line = error.position().map_or(0, csv::Position::line);
            (line, matches!(error.kind(), csv::ErrorKind::Io(_)), error.to_string())
        })?;
        let field = |at: usize| record.get(at).unwrap_or_default().to_owned();
        let row = Row {
            chain: field(self.chain),
            registration_id: self.registration_id.map(field),
            key: self.key.map(field),
            at: self.at.map(field).map(Moment::Text),
        };
        Ok((record.position().map_or(0, csv::Position::line), row))
    }
}

/// The next line that is not empty.
fn json_line(reader: &mut BufReader<File>, number: &mut usize) -> Option<Parsed> {
    loop {
        let mut line = Vec::new();
        *number += 1;
        let at = *number as u64;
        match reader.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line) {
            Ok(0) => return None,
            Ok(_) if line.len() as u64 == LONGEST_LINE && !line.ends_with(b"\n") => {
                let skipped = skip_line(reader);
                let fault = format!("it is longer than {LONGEST_LINE} bytes");
                return Some(Err((at, skipped.is_err(), fault)));
            }
            Ok(_) if line.trim_ascii().is_empty() => {}
            Ok(_) => {
                let row = serde_json::from_slice(&line);
                return Some(row.map(|row| (at, row)).map_err(|error| (at, false, error.to_string())));
            }
            Err(error) => return Some(Err((at, true, error.to_string()))),
        }
    }
}

/// Passes over what is left of a line.
fn skip_line(reader: &mut BufReader<File>) -> io::Result<()> {
    loop {
        let buffer = reader.fill_buf()?;
        let (length, newline) = (buffer.len(), buffer.iter().position(|b| *b == b'\n'));
        reader.consume(newline.map_or(length, |at| at + 1));
        if newline.is_some() || length == 0 {
            return Ok(());
        }
    }
}

impl Moment {
    fn seconds(&self) -> Result<Option<i64>, String> {
        match self {
            Moment::Seconds(seconds) => Ok(Some(*seconds)),
            Moment::Text(text) if text.trim().is_empty() => Ok(None),
            Moment::Text(text) => match text.trim().parse() {
                Ok(seconds) => Ok(Some(seconds)),
                Err(_) => moment(text.trim()).map(|moment| Some(moment.unix_timestamp())),
            },
        }
    }
}
