//! Base URLs: for clients that trust no variable, or no certificate but their own (`--reverse`).

use std::net::SocketAddr;

use super::hosts::Host;

/// What clients are told of each host by the variable that their documentation names, or by one of squall's own.
pub fn all(hosts: &[(Host, SocketAddr)]) -> Vec<(String, String)> {
    let mut set: Vec<(String, String)> = hosts.iter().flat_map(|(host, address)| of(host, *address)).collect();
    let amazon: Vec<&SocketAddr> =
        hosts.iter().filter(|(host, _)| stands_in_for_amazon(host)).map(|(_, at)| at).collect();
    if let [only] = amazon.as_slice() {
        set.push(("AWS_ENDPOINT_URL".into(), format!("http://{only}")));
    }
    set
}

fn of(host: &Host, address: SocketAddr) -> Vec<(String, String)> {
    let url = format!("http://{address}");
    let own = host.name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' });
    let mut set = vec![(format!("SQUALL_URL_{}", own.collect::<String>()), url.clone())];
    let documented = match host.name.as_str() {
        "api.openai.com" => Some(("OPENAI_BASE_URL".to_owned(), format!("{url}/v1"))),
        "api.anthropic.com" => Some(("ANTHROPIC_BASE_URL".to_owned(), url)),
        "api.github.com" => Some(("GITHUB_API_URL".to_owned(), url)),
        "api.stripe.com" => Some(("STRIPE_API_BASE".to_owned(), url)), // stripe.api_base = os.environ["STRIPE_API_BASE"]
        name if stands_in_for_amazon(host) => {
            let service = name.split('.').find(|part| AMAZON.contains(part));
            service.map(|service| (format!("AWS_ENDPOINT_URL_{}", service.to_ascii_uppercase()), url))
        }
        _ => None,
    };
    set.extend(documented);
    set
}

/// Services whose variables are told apart by boto3 and its kin.
const AMAZON: [&str; 8] = ["dynamodb", "s3", "sqs", "sns", "sts", "ec2", "lambda", "kinesis"];

/// Their requests are signed with the host that was asked for: a stand-in takes that, the service itself does not.
fn stands_in_for_amazon(host: &Host) -> bool {
    host.map.is_some() && host.name.ends_with(".amazonaws.com")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::hosts::{Mapped, opened};
    use super::*;

    #[test]
    fn clients_are_told_by_the_variables_that_they_document() {
        let maps: Vec<Mapped> =
            ["https://dynamodb.eu-west-1.amazonaws.com=127.0.0.1:1"].map(|it| it.parse().unwrap()).to_vec();
        let only = ["https://api.openai.com", "https://api.stripe.com", "https://s3.amazonaws.com", "https://x-1.test"];
        let hosts = opened(&[], &only.map(|it| it.parse().unwrap()), &maps);
        let at: SocketAddr = "127.0.0.1:9".parse().unwrap();
        let set = all(&hosts.into_iter().map(|host| (host, at)).collect::<Vec<_>>());
        let value = |name: &str| set.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        assert_eq!(value("OPENAI_BASE_URL"), Some("http://127.0.0.1:9/v1"));
        assert_eq!(value("STRIPE_API_BASE"), Some("http://127.0.0.1:9"));
        assert_eq!(value("AWS_ENDPOINT_URL_DYNAMODB"), Some("http://127.0.0.1:9"));
        assert_eq!(value("AWS_ENDPOINT_URL"), Some("http://127.0.0.1:9"));
        assert_eq!(value("AWS_ENDPOINT_URL_S3"), None, "the service itself refuses a signature for another host");
        assert_eq!(value("SQUALL_URL_X_1_TEST"), Some("http://127.0.0.1:9"));
    }
}
