//! Where what belongs to a project is kept: its CA, and how to reach the wrap that runs.

use std::path::{Path, PathBuf};

use squall_core::draw;

use crate::runtime;

/// The directory of the project in the current directory, for this user only: `$XDG_STATE_HOME/squall/projects/NAME-HASH`.
///
/// # Errors
/// When it can't be made, in words.
pub fn directory(chosen: Option<&Path>) -> Result<PathBuf, String> {
    let directory = match chosen {
        Some(chosen) => chosen.to_owned(),
        None => home()?.join("squall/projects").join(name()?),
    };
    runtime::private(&directory)
        .map_err(|error| format!("{}: {error}; --state DIR keeps the CA elsewhere", directory.display()))?;
    Ok(directory)
}

fn home() -> Result<PathBuf, String> {
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = set("XDG_STATE_HOME").or_else(|| set("HOME").map(|home| home.join(".local/state")));
    state.ok_or_else(|| "neither XDG_STATE_HOME nor HOME names a directory: say where by --state DIR".to_owned())
}

/// The name of the current directory, told from others of that name.
fn name() -> Result<String, String> {
    let here = std::env::current_dir().map_err(|error| format!("the current directory: {error}"))?;
    let name = here.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let plain: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')).take(40).collect();
    Ok(format!("{plain}-{:016x}", draw::hash(here.as_os_str().as_encoded_bytes())))
}
