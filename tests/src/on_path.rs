//! Programs on the `PATH`. The build script includes this file.

use std::{env, path::PathBuf};

/// The names that Chromium goes by.
pub(crate) const CHROMIUM: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// Returns the first program on the `PATH` that has one of these names.
pub(crate) fn on_path(names: &[&str]) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    names.iter().find_map(|name| env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file()))
}
