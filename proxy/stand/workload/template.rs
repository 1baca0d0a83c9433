//! Text with the number of the request in it.

/// A text in which `{n}` stands for the number of the request.
#[derive(Clone, Debug)]
pub(super) struct Template {
    parts: Vec<String>,
}

impl Template {
    pub(super) fn new(text: &str) -> Template {
        Template { parts: text.split("{n}").map(str::to_owned).collect() }
    }

    pub(super) fn fill(&self, number: u64) -> String {
        self.parts.join(&number.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_n_is_replaced_and_nothing_else() {
        assert_eq!(Template::new("SET cart:{n} {n}\r\n").fill(41), "SET cart:41 41\r\n");
        assert_eq!(Template::new("{m} {{n}").fill(7), "{m} {7");
        assert_eq!(Template::new("").fill(7), "");
    }
}
