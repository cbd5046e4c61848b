//! The file is created completely or not at all, and an emptied file is not created anew.

use std::{
    env, fs, io,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    thread,
};

use redb::{Database, StorageBackend, TableDefinition, backends::FileBackend};

use super::{
    super::{OpenError, file::create},
    EmbeddedStore, is_active, sign_in,
};
use crate::store::StoreErrorKind;

/// A disk that runs a limited number of operations. Each later operation does what the test says.
#[derive(Debug)]
struct LimitedBackend {
    file: FileBackend,
    left: AtomicUsize,
    then: fn() -> io::Error,
}

impl LimitedBackend {
    fn new(file: FileBackend, operations: usize, then: fn() -> io::Error) -> Self {
        Self { file, left: operations.into(), then }
    }

    fn step(&self) -> io::Result<()> {
        let left = self.left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1));
        left.map(drop).map_err(|_| (self.then)())
    }
}

impl StorageBackend for LimitedBackend {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.step()?;
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.step()?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.step()?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.step()?;
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}

fn names(directory: &Path) -> Vec<String> {
    let names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.collect()
}

#[test]
fn embedded_creation_that_fails_at_any_step_leaves_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokens.redb");
    let mut died = 0;
    for steps in 0.. {
        let made = create(&path, |file| LimitedBackend::new(file, steps, || io::Error::other("died")));
        match made {
            Ok(()) => break,
            Err(_) => assert_eq!(names(dir.path()), Vec::<String>::new(), "after {steps} steps"),
        }
        died += 1;
    }
    assert!(died > 5, "{died} steps");
    EmbeddedStore::open(&path).unwrap();
}

#[tokio::test]
async fn embedded_creation_keeps_a_file_that_was_created_first() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokens.redb");
    let store = EmbeddedStore::open(&path).unwrap();
    let (_, access) = sign_in(&store).await.unwrap();
    create(&path, |file| file).unwrap();
    drop(store);
    assert!(is_active(&EmbeddedStore::open(&path).unwrap(), access).await);
    assert_eq!(names(dir.path()), ["tokens.redb"]);
}

const FILE: &str = "AUTH_LAYER_CREATION_TEST_FILE";
const STEPS: &str = "AUTH_LAYER_CREATION_TEST_STEPS";

fn halt() -> io::Error {
    writeln!(io::stdout(), "halted").unwrap();
    loop {
        thread::park();
    }
}

/// Not a test: the process that the next test kills. It creates a file, and stops after so many
/// operations.
#[test]
#[ignore = "started by another test"]
fn victim() {
    let (Some(path), Ok(steps)) = (env::var_os(FILE), env::var(STEPS)) else { return };
    let steps = steps.parse().unwrap();
    create(Path::new(&path), |file| LimitedBackend::new(file, steps, halt)).unwrap();
}

#[test]
fn embedded_creation_killed_at_any_step_lets_the_next_start_succeed() {
    let (_, module) = module_path!().split_once("::").unwrap();
    let mut killed = 0;
    for steps in 0.. {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens.redb");
        let mut victim = Command::new(env::current_exe().unwrap())
            .args(["--exact", "--ignored", "--nocapture", &format!("{module}::victim")])
            .env(FILE, &path)
            .env(STEPS, steps.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(victim.stdout.take().unwrap()).lines();
        let halted = lines.map_while(Result::ok).any(|line| line.contains("halted"));
        victim.kill().unwrap();
        let status = victim.wait().unwrap();
        if !halted {
            assert!(status.success(), "it makes the whole file");
            break;
        }
        killed += 1;
        let left = names(dir.path());
        assert!(left.len() == 1 && left[0] != "tokens.redb", "after {steps} steps: {left:?}");
        EmbeddedStore::open(&path).unwrap();
        assert_eq!(names(dir.path()), ["tokens.redb"], "nothing is left lying about");
    }
    assert!(killed > 5, "{killed} steps");
}

#[tokio::test]
async fn embedded_file_that_was_truncated_is_refused_and_unchanged() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokens.redb");
    let store = EmbeddedStore::open(&path).unwrap();
    sign_in(&store).await.unwrap();
    drop(store);
    let whole = fs::read(&path).unwrap();
    for length in [0, 1, 63, 64, 320, 4_096, 8_192, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        match EmbeddedStore::open(&path) {
            Err(OpenError::Failed(error)) if length == 0 => {
                assert_eq!(error.kind(), StoreErrorKind::Corrupt);
                let sentence = std::error::Error::source(&error).unwrap().to_string();
                assert!(sentence.contains(path.to_str().unwrap()) && sentence.contains("backup"), "{sentence}");
            }
            Err(_) => {}
            Ok(_) => panic!("a file of {length} bytes, of {}, is opened", whole.len()),
        }
        assert_eq!(fs::metadata(&path).unwrap().len(), length as u64, "it is left as it is");
    }
}

#[test]
fn embedded_file_of_another_program_is_refused() {
    const OTHER: TableDefinition<'_, &str, u64> = TableDefinition::new("other");
    let dir = tempfile::tempdir().unwrap();
    for with_table in [false, true] {
        let path = dir.path().join(format!("{with_table}.redb"));
        let database = Database::create(&path).unwrap();
        if with_table {
            let write = database.begin_write().unwrap();
            write.open_table(OTHER).unwrap().insert("key", 5).unwrap();
            write.commit().unwrap();
        }
        drop(database);
        let Err(OpenError::Failed(error)) = EmbeddedStore::open(&path) else { panic!("it is opened") };
        assert_eq!(error.kind(), StoreErrorKind::Corrupt);
    }
}
