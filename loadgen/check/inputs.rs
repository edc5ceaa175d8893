//! Where chains come from: one from files, or many from a directory, a list of files, a manifest or a stream.
//!
//! A batch is read as it is worked off: names are listed, contents are not kept. What cannot be read is an item of the
//! batch and not its end.

use super::{manifest, stream};
use crate::cli::file_fault;
use crate::exit::{Exit, Failure};
use sim_identity::PrivateKey;
use sim_identity::files::{self, CertificatePool, FileContents, FileFault, LARGEST_FILE};
use sim_identity::preflight::{Code, Presented};
use sim_protocol::RegistrationId;
use std::fs::{self, File};
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

/// What is asked of one device of a batch, beyond what is asked of all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asking {
    /// The id it registers under; none for its leaf's CN.
    pub registration_id: Option<RegistrationId>,
    /// As of when, Unix seconds; none for when the others are judged.
    pub at: Option<i64>,
    /// The id that the name of its file says, as `mint fleet` writes them; counts where nothing else says one.
    pub id_of_name: Option<RegistrationId>,
}

/// One device of a batch, not read yet.
#[derive(Debug)]
pub struct Input {
    /// Where it comes from: a file, a line of a manifest.
    pub label: String,
    /// What is asked of it.
    pub asking: Asking,
    /// Whether it comes from a directory of all sorts, where files of CA certificates alone are no devices.
    pub mixed: bool,
    /// Where its certificates and its key are.
    pub(super) content: Content,
}

/// Where a device's certificates and its key are.
#[derive(Debug)]
pub(super) enum Content {
    /// In a file each.
    Files { chain: PathBuf, key: KeyFile },
    /// Cut out of a stream: PEM.
    Text { chain: Vec<u8>, key: Vec<u8> },
}

/// Where a device's key is.
#[derive(Debug)]
pub(super) enum KeyFile {
    /// Nowhere, or with its certificates.
    None,
    /// Here, if there is such a file.
    Beside(PathBuf),
    /// Here.
    Named(PathBuf),
}

/// A device whose files are of no use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Where it comes from.
    pub label: String,
    /// Whether a private key lies where a certificate belongs, or the file is of no use otherwise.
    pub code: Code,
    /// What was attempted and why it failed.
    pub message: String,
    /// What to do next.
    pub advice: Option<String>,
}

/// Why a file is of no use.
pub(super) struct Unusable {
    failure: Failure,
    code: Code,
}

impl From<Failure> for Unusable {
    fn from(failure: Failure) -> Self {
        Unusable { failure, code: Code::FileUnreadable }
    }
}

impl Unreadable {
    pub(super) fn new(label: impl Into<String>, why: impl Into<Unusable>) -> Self {
        let Unusable { failure, code } = why.into();
        Unreadable { label: label.into(), code, message: failure.message, advice: failure.advice }
    }
}

impl Input {
    /// Reads what the device sends. `pool` remembers the CA certificates that many devices share.
    pub fn read(&self, password: Option<&str>, pool: &CertificatePool) -> Result<Presented, Unreadable> {
        let read = match &self.content {
            Content::Files { chain, key } => from_files(chain, key, password, pool),
            Content::Text { chain, key } => from_text(&self.label, chain, key, pool),
        };
        read.map_err(|why| Unreadable::new(self.label.as_str(), why))
    }
}

fn from_files(
    chain: &Path,
    key: &KeyFile,
    password: Option<&str>,
    pool: &CertificatePool,
) -> Result<Presented, Unusable> {
    let contents = parse(&name(chain), &read_file(chain)?, password, pool)?;
    let key = match key {
        KeyFile::None => None,
        KeyFile::Named(path) => Some(read_key(path)?),
        KeyFile::Beside(path) => path.exists().then(|| read_key(path)).transpose()?,
    };
    Ok(presented(contents, key))
}

fn from_text(label: &str, chain: &[u8], key: &[u8], pool: &CertificatePool) -> Result<Presented, Unusable> {
    let contents = parse(label, chain, None, pool)?;
    let key = (!key.is_empty()).then(|| files::read_private_key(label, key)).transpose();
    Ok(presented(contents, key.map_err(file_fault)?))
}

/// What the device sends, and whether the key is its.
fn presented(contents: FileContents, key: Option<PrivateKey>) -> Presented {
    let FileContents { certificates, key: own, findings, .. } = contents;
    let key_matches =
        key.or(own).zip(certificates.first()).map(|(key, leaf)| key.public_key() == leaf.public_key());
    Presented { certificates, key_matches, file_findings: findings }
}

fn parse(
    name: &str,
    bytes: &[u8],
    password: Option<&str>,
    pool: &CertificatePool,
) -> Result<FileContents, Unusable> {
    files::read_presented_with(name, bytes, password, pool).map_err(|fault| match is_json(bytes) {
        true => Failure::usage(format!("cannot read {name} as a chain: it is JSON"))
            .advise("The state of an instance is given with --instance FILE.")
            .into(),
        false => {
            let exposed = matches!(fault, FileFault::PrivateKey { .. });
            let code = if exposed { Code::KeyExposed } else { Code::FileUnreadable };
            Unusable { failure: file_fault(fault), code }
        }
    })
}

fn is_json(bytes: &[u8]) -> bool {
    let text = files::as_utf8(bytes);
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&text);
    matches!(text.trim_ascii_start().first(), Some(b'{' | b'['))
}

fn read_key(path: &Path) -> Result<PrivateKey, Failure> {
    files::read_private_key(&name(path), &read_file(path)?).map_err(file_fault)
}

/// One chain: the first file may hold the leaf and everything that the device sends after it, further files are sent
/// after that in their order. `-` as the first stands for standard input. Says what to call it, too.
///
/// # Errors
/// With [`Exit::Usage`] where one of the files cannot be used.
pub fn one_chain(
    paths: &[PathBuf],
    key: Option<&Path>,
    password: Option<&str>,
) -> Result<(String, Presented), Failure> {
    let Some((first, further)) = paths.split_first() else {
        return Err(Failure::usage("no chain was given").advise("Name the file that the device sends."));
    };
    let none = CertificatePool::none();
    let (label, bytes) = if first.as_os_str() == "-" {
        let bytes = limited(io::stdin().lock()).map_err(|error| unread("standard input", &error))?;
        ("standard input".to_owned(), bytes)
    } else {
        (name(first), read_file(first)?)
    };
    let mut contents = parse(&label, &bytes, password, &none).map_err(|why| why.failure)?;
    for path in further {
        let more = parse(&name(path), &read_file(path)?, password, &none).map_err(|why| why.failure)?;
        contents.certificates.extend(more.certificates);
        contents.findings.extend(more.findings);
        contents.key = contents.key.or(more.key);
    }
    let key = key.map(read_key).transpose()?;
    Ok((label, presented(contents, key)))
}

/// The certificates of a file that a CA's owner would upload: no private key may be in it.
///
/// # Errors
/// With [`Exit::Usage`] where the file cannot be used, or holds a private key.
pub fn certificates(path: &Path) -> Result<FileContents, Failure> {
    let name = name(path);
    let contents =
        parse(&name, &read_file(path)?, None, &CertificatePool::none()).map_err(|why| why.failure)?;
    if contents.holds_key {
        let fault = format!("will not use {name} as a CA's certificate: it holds a private key");
        return Err(Failure::usage(fault)
            .advise("Give a file with the certificate alone; a private key must never be uploaded."));
    }
    Ok(contents)
}

/// Where a batch comes from.
pub enum Source {
    /// A file each.
    Directory(Directory),
    /// Named one by one.
    Files(std::vec::IntoIter<PathBuf>),
    /// A CSV or JSONL file that lists them.
    Manifest(manifest::Manifest),
    /// PEM, one device after the other.
    Stream(stream::Devices<Box<dyn io::BufRead + Send>>),
}

impl Source {
    /// What a path stands for, by looking: a directory, a manifest by its name (`.csv`, `.jsonl`, `.ndjson`), or one
    /// file with many devices, as `mint fleet --stdout` writes it. `-` stands for such a stream on standard input.
    ///
    /// # Errors
    /// With [`Exit::Usage`] where there is nothing that could be a batch.
    pub fn open(path: &Path) -> Result<Source, Failure> {
        if path.as_os_str() == "-" {
            return Ok(Source::stream("standard input", Box::new(BufReader::new(io::stdin()))));
        }
        let found = fs::metadata(path).map_err(|error| unread(&name(path), &error))?;
        if found.is_dir() {
            return Directory::list(path).map(Source::Directory);
        }
        if manifest::is_manifest(path) {
            return manifest::Manifest::open(path).map(Source::Manifest);
        }
        let file = File::open(path).map_err(|error| unread(&name(path), &error))?;
        Ok(Source::stream(&name(path), Box::new(BufReader::new(file))))
    }

    /// Devices one after the other.
    pub fn stream(name: &str, reader: Box<dyn io::BufRead + Send>) -> Source {
        Source::Stream(stream::Devices::new(name, reader))
    }

    /// A device each.
    pub fn files(paths: Vec<PathBuf>) -> Source {
        Source::Files(paths.into_iter())
    }

    /// How many devices there are, where that is known before all is read.
    pub fn expected(&self) -> Option<u64> {
        match self {
            Source::Directory(directory) => Some(directory.count() as u64),
            Source::Files(paths) => Some(paths.len() as u64),
            Source::Manifest(_) | Source::Stream(_) => None,
        }
    }
}

impl Iterator for Source {
    type Item = Result<Input, Unreadable>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Source::Directory(directory) => {
                let mixed = directory.mixed;
                directory
                    .next()
                    .map(|path| Ok(if mixed { Input { mixed, ..beside(path) } } else { minted(path) }))
            }
            Source::Files(paths) => paths.next().map(|path| Ok(beside(path))),
            Source::Manifest(manifest) => manifest.next(),
            Source::Stream(devices) => devices.next(),
        }
    }
}

/// A device whose key, if it is there, is beside its chain: `NAME.key.pem`.
fn beside(chain: PathBuf) -> Input {
    let key = chain.file_name().and_then(|name| name.to_str()).map(|file| {
        let stem = file.strip_suffix(CHAIN).or_else(|| file.rsplit_once('.').map(|(stem, _)| stem));
        KeyFile::Beside(chain.with_file_name(format!("{}{KEY}", stem.unwrap_or(file))))
    });
    Input {
        label: name(&chain),
        asking: Asking::default(),
        mixed: false,
        content: Content::Files { chain, key: key.unwrap_or(KeyFile::None) },
    }
}

/// The same, in a directory as `mint fleet` writes it: `REGISTRATION-ID.chain.pem`.
fn minted(chain: PathBuf) -> Input {
    let stem = chain.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(CHAIN));
    let id_of_name = stem.and_then(|stem| RegistrationId::new(stem).ok());
    Input { asking: Asking { id_of_name, ..Asking::default() }, ..beside(chain) }
}

/// How `mint fleet` ends the names of its files.
const CHAIN: &str = ".chain.pem";
const KEY: &str = ".key.pem";
/// How files with certificates end.
const EXTENSIONS: [&str; 9] = ["pem", "crt", "cer", "der", "p7b", "p7c", "pfx", "p12", "cert"];

/// The names in a directory that stand for devices, sorted. A million of them take some 30 MB.
pub struct Directory {
    path: PathBuf,
    /// All names, one after the other.
    names: Vec<u8>,
    /// Where each lies.
    spans: std::vec::IntoIter<(u32, u16)>,
    /// Whether these are files of all sorts, rather than those that `mint fleet` wrote.
    mixed: bool,
}

impl Directory {
    /// Lists `*.chain.pem`, as `mint fleet` writes them; where there is none, every file that holds certificates by
    /// its extension and is no key.
    fn list(path: &Path) -> Result<Self, Failure> {
        let chains = Self::matching(path, |name| name.ends_with(CHAIN.as_bytes()))?;
        let found = match chains.count() {
            0 => Directory { mixed: true, ..Self::matching(path, holds_certificates)? },
            _ => chains,
        };
        if found.count() == 0 {
            let fault = format!("{} holds no file with certificates", path.display());
            return Err(
                Failure::usage(fault).advise(format!("Such files end in .{}.", EXTENSIONS.join(", .")))
            );
        }
        Ok(found)
    }

    fn matching(path: &Path, wanted: impl Fn(&[u8]) -> bool) -> Result<Self, Failure> {
        let fault = |error: io::Error| unread(&path.display().to_string(), &error);
        let (mut names, mut spans) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(path).map_err(fault)? {
            let file = entry.map_err(fault)?.file_name();
            let bytes = file.as_encoded_bytes();
            if !wanted(bytes) {
                continue;
            }
            let (Ok(start), Ok(length)) = (u32::try_from(names.len()), u16::try_from(bytes.len())) else {
                return Err(Failure::usage(format!("{} holds too many files", path.display()))
                    .advise("Spread them over several directories."));
            };
            names.extend_from_slice(bytes);
            spans.push((start, length));
        }
        spans.sort_unstable_by(|a, b| span(&names, *a).cmp(span(&names, *b)));
        Ok(Directory { path: path.to_owned(), names, spans: spans.into_iter(), mixed: false })
    }

    fn count(&self) -> usize {
        self.spans.len()
    }

    fn next(&mut self) -> Option<PathBuf> {
        let name = span(&self.names, self.spans.next()?);
        // Names that are no text are shown, and looked for, as well as they can be.
        Some(self.path.join(String::from_utf8_lossy(name).as_ref()))
    }
}

fn span(names: &[u8], (start, length): (u32, u16)) -> &[u8] {
    names.get(start as usize..start as usize + usize::from(length)).unwrap_or_default()
}

fn holds_certificates(name: &[u8]) -> bool {
    let Some(dot) = name.iter().rposition(|b| *b == b'.') else { return false };
    let known = |e: &&str| name[dot + 1..].eq_ignore_ascii_case(e.as_bytes());
    dot > 0 && !name.ends_with(KEY.as_bytes()) && EXTENSIONS.iter().any(known)
}

/// A path as it is shown.
pub(super) fn name(path: &Path) -> String {
    path.display().to_string()
}

/// A file of certificates, up to the size at which it can be none.
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    let name = name(path);
    File::open(path).and_then(limited).map_err(|error| unread(&name, &error))
}

fn limited(reader: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(LARGEST_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST_FILE {
        let fault = format!("it is larger than {} MiB", LARGEST_FILE >> 20);
        return Err(io::Error::new(ErrorKind::FileTooLarge, fault));
    }
    Ok(bytes)
}

/// Why a file cannot be read.
pub(super) fn unread(name: &str, error: &io::Error) -> Failure {
    let failure = Failure::new(Exit::Usage, format!("cannot read {name}: {error}"));
    match error.kind() {
        ErrorKind::NotFound => failure.advise("Check the path; it is taken from the current directory."),
        ErrorKind::PermissionDenied => failure.advise("Make the file readable for the current user."),
        ErrorKind::IsADirectory => failure.advise("Name a file, not a directory."),
        ErrorKind::FileTooLarge => failure.advise("Give the chain of one device, or a batch."),
        _ => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::fixture::{World, id, pem};

    type Row = (String, Result<(usize, Option<bool>), ()>);

    /// Each device's label without its directory, its number of certificates, and whether its key fits.
    fn read_all(source: Source) -> Vec<Row> {
        let pool = CertificatePool::new();
        let read = source.map(|input| {
            let label = |text: &str| text.rsplit('/').next().unwrap_or_default().to_owned();
            let found = input.and_then(|input| {
                let read = input.read(None, &pool)?;
                Ok((label(&input.label), (read.certificates.len(), read.key_matches)))
            });
            match found {
                Ok((label, read)) => (label, Ok(read)),
                Err(unreadable) => (label(&unreadable.label), Err(())),
            }
        });
        read.collect()
    }

    fn row(label: &str, certificates: usize, key: Option<bool>) -> Row {
        (label.to_owned(), Ok((certificates, key)))
    }

    #[test]
    fn one_chain_is_put_together_from_files_and_paired_with_its_key() {
        let world = World::new();
        let leaf = world.write("leaf.pem", &pem(&world.leaf()));
        let line = world.write("line.pem", &pem(&world.line()));
        let (own, other) =
            (world.write("own.key", &world.key_pem()), world.write("other.key", &world.device(2).1));
        let both = world.write("both.pem", &(pem(&world.leaf()) + &world.key_pem()));
        for (paths, key, expected) in [
            (vec![leaf.clone()], None, (1, None)),
            (vec![leaf.clone(), line.clone()], Some(&own), (2, Some(true))),
            (vec![line.clone(), leaf.clone()], Some(&own), (2, Some(false))),
            (vec![leaf.clone()], Some(&other), (1, Some(false))),
            (vec![both.clone()], None, (1, Some(true))),
            (vec![both], Some(&other), (1, Some(false))),
        ] {
            let (label, read) = one_chain(&paths, key.map(PathBuf::as_path), None).expect("a chain");
            assert_eq!((read.certificates.len(), read.key_matches), expected, "{paths:?}");
            assert_eq!(label, name(&paths[0]));
        }
        let none = world.path("none.pem");
        for paths in [vec![], vec![none.clone()], vec![leaf, none], vec![own]] {
            let failure = one_chain(&paths, None, None).expect_err("of no use");
            assert!(failure.exit == Exit::Usage && failure.advice.is_some(), "{failure}");
        }
    }

    #[test]
    fn a_directory_holds_the_chains_that_mint_wrote_or_else_whatever_has_certificates() {
        let world = World::new();
        let (chain, key) = world.device(2);
        world.write("dev-2.chain.pem", &chain);
        world.write("dev-2.key.pem", &key);
        world.write("dev-1.chain.pem", &chain);
        world.write("dev-1.key.pem", &world.key_pem());
        world.write("dev-3.chain.pem", "nothing");
        world.write("root.pem", &pem(&world.root()));
        let fleet = Source::open(&world.path("")).expect("a fleet");
        assert_eq!(fleet.expected(), Some(3));
        let expected = vec![
            row("dev-1.chain.pem", 3, Some(false)),
            row("dev-2.chain.pem", 3, Some(true)),
            ("dev-3.chain.pem".to_owned(), Err(())),
        ];
        assert_eq!(read_all(fleet), expected);

        let world = World::new();
        let empty = Source::open(&world.path("")).err().map(|failure| failure.exit);
        assert_eq!(empty, Some(Exit::Usage));
        world.write("b.CRT", &pem(&world.leaf()));
        world.write("a.pem", &chain);
        world.write("a.key.pem", &key);
        world.write("readme.txt", "text");
        let found = read_all(Source::open(&world.path("")).expect("a directory"));
        assert_eq!(found, [row("a.pem", 3, Some(true)), row("b.CRT", 1, None)]);
        let files = Source::files(vec![world.path("b.CRT"), world.path("none.pem")]);
        assert_eq!(read_all(files), [row("b.CRT", 1, None), ("none.pem".to_owned(), Err(()))]);
    }

    #[test]
    fn a_manifest_names_files_ids_keys_and_moments_relative_to_itself() {
        let world = World::new();
        let (chain, key) = world.device(2);
        world.write("a, b.pem", &chain);
        world.write("a.key", &key);
        let csv = "\u{feff}owner,Chain,at,registration_id,key\r\nx,\"a, b.pem\",2026-06-01,dev-2,a.key\r\n\
                   y,a.pem,,,\r\nz,\"a, b.pem\",,,\r\nz,\"a, b.pem\",soon,,\r\ntoo,few\r\nz,,,,\r\nz,\"a, b.pem\",7,d d,\r\n";
        let jsonl = "{\"chain\": \"a, b.pem\", \"at\": \"2026-06-01T00:00:00Z\", \"registrationId\": \"dev-2\", \"key\": \"a.key\"}\n\
                     {\"chain\": \"a.pem\", \"key\": null}\n\n{\"chain\": \"a, b.pem\", \"more\": 1}\nno\n{}\n";
        for (file, text, labels) in [
            ("m.csv", csv, ["line 2", "line 3", "line 4", "line 5", "line 6", "line 7", "line 8"].as_slice()),
            ("m.jsonl", jsonl, &["line 1", "line 2", "line 4", "line 5", "line 6"]),
        ] {
            let path = world.write(file, text);
            let first = Source::open(&path).expect("a manifest").next().expect("a row").expect("a device");
            let asking =
                Asking { registration_id: Some(id("dev-2")), at: Some(1_780_272_000), id_of_name: None };
            assert_eq!(first.asking, asking);
            let found = read_all(Source::open(&path).expect("a manifest"));
            let outcome: Vec<_> = found.iter().map(|(_, read)| *read).collect();
            assert_eq!(outcome[..3], [Ok((3, Some(true))), Err(()), Ok((3, None))], "{file}");
            assert!(outcome[3..].iter().all(Result::is_err), "{outcome:?}");
            let shown: Vec<String> = labels.iter().map(|line| format!("{file}, {line}")).collect();
            assert_eq!(found.into_iter().map(|(label, _)| label).collect::<Vec<_>>(), shown);
        }
        for text in ["", "file,key\na,b\n"] {
            let path = world.write("bad.csv", text);
            assert_eq!(Source::open(&path).err().map(|failure| failure.exit), Some(Exit::Usage), "{text}");
        }
    }

    #[test]
    fn a_stream_is_cut_where_devices_begin() {
        let world = World::new();
        let (one, two) = (world.device(1), world.device(2));
        let keys = format!("{}{}{}{}", one.0, one.1, two.0, two.1);
        let no_keys = format!("{}{}", one.0, two.0);
        let stream = |text: &str| Source::stream("s", Box::new(io::Cursor::new(text.as_bytes().to_vec())));
        let fits = |line, key| row(&format!("s, line {line}"), 3, key);
        let second = |text: &str| text[..text.find(&two.0).expect("the second")].lines().count() + 1;
        assert_eq!(read_all(stream(&keys)), [fits(1, Some(true)), fits(second(&keys), Some(true))]);
        assert_eq!(read_all(stream(&no_keys)), [fits(1, None), fits(second(&no_keys), None)]);
        let cut = &keys[..keys.len() - 40];
        assert_eq!(read_all(stream(cut))[0], fits(1, Some(true)));
        assert!(read_all(stream(cut))[1].1.is_err(), "a key that was cut off");
        for text in
            ["", "text", &one.1, "-----BEGIN CERTIFICATE-----", "-----BEGIN X-----\n-----END X-----\n"]
        {
            let found = read_all(stream(text));
            assert!(matches!(found.as_slice(), [(_, Err(()))]), "{text}: {found:?}");
        }
        let path = world.write("fleet.pem", &keys);
        assert_eq!(read_all(Source::open(&path).expect("a stream")).len(), 2);
    }

    #[test]
    fn no_cut_of_a_stream_makes_it_panic_or_go_on_for_ever() {
        let world = World::new();
        let (chain, key) = world.device(1);
        let text = format!("{chain}{key}{chain}{key}");
        for end in 0..text.len() {
            let reader = Box::new(io::Cursor::new(text.as_bytes()[..end].to_vec()));
            assert!((1..=2).contains(&read_all(Source::stream("s", reader)).len()), "cut at {end}");
        }
    }
}
