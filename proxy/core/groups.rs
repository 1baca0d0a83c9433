//! Groups of nodes that one fault cuts from each other: which links between them, and in which direction.

use std::collections::BTreeMap;

use crate::fault::Flow;
use crate::parse::{did_you_mean, expected, glob, is_name, nearest};

/// More groups, or members of a group, are refused.
const MOST: usize = 1_000;

/// A proxy as a link between two nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link<'a> {
    /// Its name.
    pub proxy: &'a str,
    /// Whose connections it carries; none: not known.
    from: Option<&'a str>,
    /// To whom it carries them.
    to: &'a str,
}

impl<'a> Link<'a> {
    /// What is not written comes from the name: `n1-to-n2` leads from n1 to n2, any other name is that of the node
    /// behind it.
    pub fn new(proxy: &'a str, from: Option<&'a str>, to: Option<&'a str>) -> Link<'a> {
        let (first, second) = match proxy.split_once("-to-") {
            Some((first, second)) if !first.is_empty() && !second.is_empty() => (Some(first), second),
            _ => (None, proxy),
        };
        Link { proxy, from: from.or(first), to: to.unwrap_or(second) }
    }
}

/// Groups of nodes. Who is in none of them is cut off from nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Groups {
    members: Vec<Vec<String>>,
    one_way: bool,
}

impl Groups {
    /// Members are nodes or, where no node has such a name, proxies, which stand for the node behind them; globs are
    /// allowed. `one_way` cuts only what the first group sends to the others.
    ///
    /// # Errors
    /// What is wrong with the groups in themselves.
    pub fn new(members: Vec<Vec<String>>, one_way: bool) -> Result<Groups, String> {
        if members.len() < 2 {
            return Err("at least two groups are needed to cut one from another".into());
        }
        if members.iter().any(Vec::is_empty) {
            return Err("a group without members is cut off from nobody".into());
        }
        if members.len() > MOST || members.iter().any(|group| group.len() > MOST) {
            return Err(format!("more than {MOST} groups, or members of one group"));
        }
        match members.iter().flatten().find(|member| !is_name(&member.replace('*', "x"))) {
            Some(member) => Err(format!("{member:?} is neither the name of a node or proxy nor a glob")),
            None => Ok(Groups { members, one_way }),
        }
    }

    /// The proxies that are cut, each with the flow in which it is (none: both), in the order given.
    ///
    /// # Errors
    /// A member that is nobody, a node in two groups, or that no link leads from one group to another.
    pub fn cuts<'a>(&self, links: &[Link<'a>]) -> Result<Vec<(&'a str, Option<Flow>)>, String> {
        let nodes = self.place(links)?;
        let cut = |link: &Link<'a>| {
            let (from, to) = (*nodes.get(link.from?)?, *nodes.get(link.to)?);
            let flow = match (self.one_way, from, to) {
                (_, from, to) if from == to => return None,
                (false, ..) => None,
                (true, 0, _) => Some(Flow::Upstream),
                (true, _, 0) => Some(Flow::Downstream),
                (true, ..) => return None,
            };
            Some((link.proxy, flow))
        };
        let cuts: Vec<_> = links.iter().filter_map(cut).collect();
        if !cuts.is_empty() {
            return Ok(cuts);
        }
        let mut why = "no proxy leads from one group to another, so nothing would be cut".to_owned();
        if links.iter().any(|link| link.from.is_none()) {
            why.push_str("; a proxy says with `from` and `to` which nodes it links, or with a name such as `n1-to-n2`");
        }
        Err(why)
    }

    /// In which group each node is.
    fn place<'a>(&self, links: &[Link<'a>]) -> Result<BTreeMap<&'a str, usize>, String> {
        let all = || links.iter().flat_map(|link| link.from.into_iter().chain([link.to]));
        let mut nodes = BTreeMap::new();
        for (group, members) in self.members.iter().enumerate() {
            for member in members {
                let mut meant: Vec<&str> = all().filter(|node| glob(member, node)).collect();
                if meant.is_empty() {
                    meant = links.iter().filter(|link| glob(member, link.proxy)).map(|link| link.to).collect();
                }
                if meant.is_empty() {
                    let mut known: Vec<&str> = all().chain(links.iter().map(|link| link.proxy)).collect();
                    known.sort_unstable();
                    known.dedup();
                    let near = nearest(member, known.iter().copied()).map(did_you_mean);
                    return Err(format!("`{member}` is no node: {}", near.unwrap_or_else(|| expected(known))));
                }
                for node in meant {
                    if nodes.insert(node, group).is_some_and(|other| other != group) {
                        return Err(format!("`{node}` is in two groups, and can't be cut off from itself"));
                    }
                }
            }
        }
        Ok(nodes)
    }
}

impl std::fmt::Display for Groups {
    /// `n1 | n2, n3`, or `n1 > n2, n3` where only what the first sends is cut.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let groups: Vec<String> = self.members.iter().map(|group| group.join(", ")).collect();
        match (self.one_way, groups.split_first()) {
            (true, Some((first, others))) => write!(f, "{first} > {}", others.join(", ")),
            _ => f.write_str(&groups.join(" | ")),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const UP: Option<Flow> = Some(Flow::Upstream);
    const DOWN: Option<Flow> = Some(Flow::Downstream);

    fn groups(groups: &[&[&str]], one_way: bool) -> Result<Groups, String> {
        let own = |group: &&[&str]| group.iter().map(ToString::to_string).collect();
        Groups::new(groups.iter().map(own).collect(), one_way)
    }

    /// Every node linked with every other, by proxies such as `n1-to-n2`.
    fn mesh(n: usize) -> Vec<String> {
        let pairs = (1..=n).flat_map(|a| (1..=n).filter(move |b| *b != a).map(move |b| (a, b)));
        pairs.map(|(a, b)| format!("n{a}-to-n{b}")).collect()
    }

    fn cut<'a>(mesh: &'a [String], groups: &Groups) -> Vec<(&'a str, Option<Flow>)> {
        let links: Vec<Link<'_>> = mesh.iter().map(|name| Link::new(name, None, None)).collect();
        groups.cuts(&links).unwrap()
    }

    #[test]
    fn a_minority_is_cut_off_in_both_directions_and_its_own_links_stay() {
        let mesh = mesh(5);
        let cuts = cut(&mesh, &groups(&[&["n1", "n2"], &["n3", "n4", "n5"]], false).unwrap());
        assert_eq!(cuts.len(), 12);
        assert!(cuts.iter().all(|(_, flow)| flow.is_none()));
        assert!(!cuts.iter().any(|(name, _)| ["n1-to-n2", "n4-to-n5"].contains(name)));
    }

    #[test]
    fn one_way_cuts_what_the_first_group_sends_whoever_opened_the_connection() {
        let mesh = mesh(3);
        let cuts = cut(&mesh, &groups(&[&["n1"], &["n2"], &["n3"]], true).unwrap());
        assert_eq!(cuts, [("n1-to-n2", UP), ("n1-to-n3", UP), ("n2-to-n1", DOWN), ("n3-to-n1", DOWN)]);
    }

    #[test]
    fn a_bridge_is_in_no_group_and_sees_both_sides() {
        let mesh = mesh(5);
        let cuts = cut(&mesh, &groups(&[&["n1", "n2"], &["n4", "n5"]], false).unwrap());
        assert_eq!(cuts.len(), 8);
        assert!(!cuts.iter().any(|(name, _)| name.contains("n3")));
    }

    #[test]
    fn three_faults_make_a_ring_in_which_each_sees_another_majority() {
        let mesh = mesh(5);
        let faults: [&[&[&str]]; 3] = [&[&["n1"], &["n3", "n4"]], &[&["n2"], &["n4", "n5"]], &[&["n3"], &["n5"]]];
        let cuts: Vec<_> = faults.iter().flat_map(|fault| cut(&mesh, &groups(fault, false).unwrap())).collect();
        assert_eq!(cuts.len(), 10);
        for node in 1..=5 {
            let sees =
                |name: &&String| name.starts_with(&format!("n{node}-")) && !cuts.iter().any(|(cut, _)| cut == name);
            assert_eq!(mesh.iter().filter(sees).count(), 2, "n{node} and two others: a majority of five");
        }
    }

    #[test]
    fn written_nodes_win_over_names_and_proxies_stand_for_the_node_behind_them() {
        let links = [
            Link::new("a", Some("web"), None),
            Link::new("b", Some("web"), Some("db")),
            Link::new("c-to-d", None, None),
        ];
        let told = |members: &[&[&str]]| groups(members, false).unwrap().cuts(&links);
        assert_eq!(told(&[&["web"], &["a", "b"]]).unwrap(), [("a", None), ("b", None)]);
        assert_eq!(told(&[&["web"], &["d*"]]).unwrap(), [("b", None)]);
        assert_eq!(told(&[&["c"], &["c-to-*"]]).unwrap(), [("c-to-d", None)]);
    }

    #[test]
    fn groups_that_can_cut_nothing_are_refused() {
        for (members, expected) in [
            (&[&["n1"][..]][..], "at least two groups"),
            (&[&["n1"], &[]], "without members"),
            (&[&["n1"], &["N 2"]], "neither the name of a node"),
        ] {
            assert!(groups(members, false).unwrap_err().contains(expected), "{members:?}");
        }
        let links = [Link::new("n1-to-n2", None, None), Link::new("n3", None, None)];
        for (members, expected) in [
            (&[&["n1"][..], &["n22"]][..], "`n22` is no node: did you mean `n2`?"),
            (&[&["n1"], &["elsewhere"]], "`elsewhere` is no node: expected one of `n1`, `n1-to-n2`, `n2`, `n3`"),
            (&[&["n1", "n2"], &["n*"]], "`n1` is in two groups"),
            (&[&["n1"], &["n3"]], "nothing would be cut; a proxy says with `from`"),
        ] {
            let why = groups(members, false).unwrap().cuts(&links).unwrap_err();
            assert!(why.contains(expected), "{members:?}: {why}");
        }
    }

    #[test]
    fn they_are_told_in_short() {
        let members: &[&[&str]] = &[&["n1"], &["n2", "n3"], &["n4"]];
        assert_eq!(groups(members, false).unwrap().to_string(), "n1 | n2, n3 | n4");
        assert_eq!(groups(members, true).unwrap().to_string(), "n1 > n2, n3, n4");
    }
}
