//! Users by number, as the system's own list names them. Read once: nobody who asks waits for a disk or a directory service.

use std::collections::HashMap;

/// The user list.
#[derive(Debug)]
pub(super) struct Users {
    names: HashMap<u32, String>,
    own: u32,
}

impl Users {
    /// From `/etc/passwd`; users of directory services have only a number.
    pub(super) fn read() -> Users {
        let text = std::fs::read("/etc/passwd").unwrap_or_default();
        Users::of(&String::from_utf8_lossy(&text), rustix::process::getuid().as_raw())
    }

    fn of(passwd: &str, own: u32) -> Users {
        let line = |line: &str| {
            let mut fields = line.split(':');
            let name = fields.next().filter(|name| !name.is_empty() && !name.starts_with('#'))?;
            Some((fields.nth(1)?.parse().ok()?, name.to_owned()))
        };
        let mut names = HashMap::new();
        for (user, name) in passwd.lines().filter_map(line) {
            names.entry(user).or_insert(name); // the first line counts, as everywhere
        }
        Users { names, own }
    }

    /// Their name, else `uid-1000`.
    pub(super) fn name(&self, user: u32) -> String {
        self.names.get(&user).cloned().unwrap_or_else(|| format!("uid-{user}"))
    }

    /// Whether this is the user that squall runs as, or the one who may do everything.
    pub(super) fn is_own(&self, user: u32) -> bool {
        user == self.own || user == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_have_names_or_numbers() {
        let users = Users::of("root:x:0:0:root:/root:/bin/sh\ntwin:x:0:0::/:\n\nbad\nweb:x:33:33::/:\n", 33);
        assert_eq!((users.name(0), users.name(33), users.name(7)), ("root".into(), "web".into(), "uid-7".into()));
        assert!(users.is_own(33) && users.is_own(0) && !users.is_own(7));
    }
}
