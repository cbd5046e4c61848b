//! What bounds any server that does the same work: the disk and the signatures.

use std::{
    fs::File,
    hint::black_box,
    io::Write,
    thread,
    time::{Duration, Instant},
};

use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair, KeyPair, UnparsedPublicKey},
};
use redb::{Database, TableDefinition};

use crate::{
    databases::Databases,
    load::{SERVER_CORE, pin},
    report::{head, median, row, thousands},
};

/// The length of what is signed: a token of the demo application.
pub(crate) const SIGNED: usize = 450;

pub(crate) const ROWS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("rows");

/// The value of a row: as long as the record of a session.
pub(crate) const ROW: [u8; 200] = [0; 200];

/// The rows of a commit, and the inserts at a time.
const GROUP: u32 = 32;

/// What one core, or the disk, can do in a second.
#[derive(Clone, Copy)]
pub(crate) enum Limit {
    Synced,
    Commit,
    GroupedRows,
    SignEd25519,
    VerifyEd25519,
    SignEs256,
    SignHs256,
    Insert,
    Inserts,
}

/// The number of limits.
const LIMITS: usize = 9;

impl Limit {
    const ALL: [Self; LIMITS] = [
        Self::Synced,
        Self::Commit,
        Self::GroupedRows,
        Self::SignEd25519,
        Self::VerifyEd25519,
        Self::SignEs256,
        Self::SignHs256,
        Self::Insert,
        Self::Inserts,
    ];

    fn name(self) -> String {
        match self {
            Self::Synced => "4 KiB appended to a file, fdatasync".into(),
            Self::Commit => "redb, a commit of one row".into(),
            Self::GroupedRows => format!("redb, rows in commits of {GROUP}"),
            Self::SignEd25519 => "Ed25519 signatures".into(),
            Self::VerifyEd25519 => "Ed25519 verifications".into(),
            Self::SignEs256 => "ES256 signatures".into(),
            Self::SignHs256 => "HS256 signatures".into(),
            Self::Insert => "MongoDB, insert_one with w: majority and j: true, one at a time".into(),
            Self::Inserts => format!("the same, {GROUP} at a time"),
        }
    }
}

/// How often each limit was reached in a second, by round.
#[derive(Default)]
pub(crate) struct Limits([Vec<f64>; LIMITS]);

impl Limits {
    /// Measures each of them for the time `lasting`, on the core of the servers. Blocks.
    pub(crate) async fn measure(&mut self, databases: &Databases, lasting: Duration) {
        let measured = thread::spawn(move || {
            pin(SERVER_CORE);
            measure(lasting)
        });
        let measured = measured.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let inserts = [databases.inserts(1, lasting).await, databases.inserts(GROUP, lasting).await];
        for (rates, rate) in self.0.iter_mut().zip(measured.into_iter().chain(inserts)) {
            rates.push(rate);
        }
    }

    fn median(&self, limit: Limit) -> f64 {
        median(self.0[limit as usize].clone())
    }

    pub(crate) fn print(&self) {
        head(&["one core and this disk", "a second"]);
        for limit in Limit::ALL {
            row(&[&limit.name(), &thousands(self.median(limit))]);
        }
    }
}

fn measure(lasting: Duration) -> [f64; 7] {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let mut file = File::create(directory.path().join("appended")).expect("a file can be made");
    let database = Database::create(directory.path().join("rows.redb")).expect("a database can be made");
    let mut key = 0;
    let mut commit = |rows: u32| {
        let writing = database.begin_write().expect("the disk serves");
        let mut table = writing.open_table(ROWS).expect("it is there");
        for _ in 0..rows {
            key += 1;
            table.insert(key, &ROW[..]).expect("the disk serves");
        }
        drop(table);
        writing.commit().expect("the disk serves");
    };
    let random = SystemRandom::new();
    let ed25519 = Ed25519KeyPair::generate().expect("there is randomness");
    let es256 = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("there is randomness");
    let hs256 = hmac::Key::generate(hmac::HMAC_SHA256, &random).expect("there is randomness");
    let message = [b'a'; SIGNED];
    let signature = ed25519.sign(&message);
    let public = UnparsedPublicKey::new(&ED25519, ed25519.public_key());
    [
        rate(lasting, || {
            file.write_all(&[0; 4096]).expect("the disk serves");
            file.sync_data().expect("the disk serves");
        }),
        rate(lasting, || commit(1)),
        rate(lasting, || commit(GROUP)) * f64::from(GROUP),
        rate(lasting, || {
            black_box(ed25519.sign(&message));
        }),
        rate(lasting, || public.verify(&message, signature.as_ref()).expect("it is right")),
        rate(lasting, || {
            black_box(es256.sign(&random, &message).expect("there is randomness"));
        }),
        rate(lasting, || {
            black_box(hmac::sign(&hs256, &message));
        }),
    ]
}

/// Returns how often a second `work` can be done.
fn rate(lasting: Duration, mut work: impl FnMut()) -> f64 {
    let begun = Instant::now();
    let mut count = 0_u32;
    while begun.elapsed() < lasting {
        work();
        count += 1;
    }
    f64::from(count) / begun.elapsed().as_secs_f64()
}
