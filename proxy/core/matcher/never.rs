//! `never_fault`: paths that no fault touches.

use super::pattern::{Subject, Text, path_prefix};
use super::{MatchSpec, Pattern};
use crate::http::{Request, normal_path};

/// Paths that are never faulted, whatever a rule says: globs over paths in normal form. One more slash at a path's end does
/// not take it out: in doubt traffic is left alone.
#[derive(Clone, Debug, Default)]
pub struct NeverFault(Vec<(Pattern, Text)>);

impl NeverFault {
    /// Compiles the globs of a configuration.
    pub fn compile(paths: &[String]) -> NeverFault {
        let compiled = |path: &String| {
            let pattern = Pattern::Glob(path.clone());
            (pattern.clone(), Text::compile(&Subject::Path, &pattern))
        };
        NeverFault(paths.iter().map(compiled).collect())
    }

    /// Whether the request must be left alone.
    pub fn matches(&self, request: &Request) -> bool {
        !self.0.is_empty() && self.covering(&normal_path(request.path())).is_some()
    }

    /// The first glob that takes a path in normal form.
    fn covering(&self, path: &str) -> Option<&Pattern> {
        let short = path.strip_suffix('/').filter(|short| !short.is_empty()).unwrap_or(path);
        let takes = |text: &Text| text.takes(path.as_bytes()) || text.takes(short.as_bytes());
        self.0.iter().find(|(_, text)| takes(text)).map(|(pattern, _)| pattern)
    }

    /// The glob that leaves nothing of what a rule's `path` takes, if that can be told.
    pub fn swallows(&self, rule: &MatchSpec) -> Option<String> {
        let pattern = rule.path.as_ref()?;
        let covering = match Text::compile(&Subject::Path, pattern) {
            Text::Exact(path) => self.covering(&path),
            // whatever is below the fixed part of the rule's path
            _ => {
                let certain = path_prefix(pattern)?;
                let below = |text: &Text| matches!(text, Text::Below(_)) && text.takes(certain.as_bytes());
                self.0.iter().find(|(_, text)| below(text)).map(|(pattern, _)| pattern)
            }
        };
        let same = || self.0.iter().map(|(other, _)| other).find(|other| *other == pattern);
        match covering.or_else(same)? {
            Pattern::Glob(glob) => Some(glob.clone()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn never(paths: &[&str]) -> NeverFault {
        NeverFault::compile(&paths.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn no_spelling_gets_around_it() {
        let never = never(&["/healthz", "/admin/**"]);
        let matches = |target: &str| never.matches(&Request { target: target.into(), ..Request::default() });
        for target in [
            "/healthz",
            "/healthz?x=1",
            "/healthz/",
            "//healthz",
            "/a/../%68ealthz",
            "/admin",
            "/admin/a/b",
            "/x/..//admin/",
        ] {
            assert!(matches(target), "{target}");
        }
        for target in ["/", "", "*", "/healthzz", "/HEALTHZ", "/a/healthz", "/administrators", "/healthz/../v1"] {
            assert!(!matches(target), "{target}");
        }
        assert!(!NeverFault::default().matches(&Request::default()));
    }

    #[test]
    fn a_rule_of_which_nothing_is_left_is_told() {
        let never = never(&["/healthz", "/admin/**", "/a/*/b"]);
        let swallows = |path: Pattern| never.swallows(&MatchSpec { path: Some(path), ..MatchSpec::default() });
        let glob = |path: &str| swallows(Pattern::Glob(path.into()));
        for (path, by) in [
            ("/healthz", "/healthz"),
            ("/admin", "/admin/**"),
            ("/admin/users/*", "/admin/**"),
            ("/admin/**", "/admin/**"),
            ("/a/*/b", "/a/*/b"),
        ] {
            assert_eq!(glob(path).as_deref(), Some(by), "{path}");
        }
        assert_eq!(swallows(Pattern::Exact("/%68ealthz".into())).as_deref(), Some("/healthz"));
        assert_eq!(swallows(Pattern::Regex("/admin/users/[0-9]+".into())).as_deref(), Some("/admin/**"));
        for path in ["/v1/**", "/adm*", "/**", "/healthz/**"] {
            assert_eq!(glob(path), None, "{path}");
        }
        assert_eq!(never.swallows(&MatchSpec::default()), None);
    }
}
