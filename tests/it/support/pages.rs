//! The pages that visitors get, and the addresses in them.

use super::visitor::{Visitor, next};
use url::Url;

/// The address to which `visitor` is sent at the provider, on the way to `url`.
pub async fn at_the_provider(visitor: &Visitor, url: &str) -> Url {
    let mut url = url.to_owned();
    while !url.starts_with("http://127.0.0.1") {
        url = next(&visitor.get(&url).await).expect("a way to the provider");
    }
    url.parse().unwrap()
}

/// The value of a parameter of `url`.
pub fn parameter(url: &Url, name: &str) -> String {
    url.query_pairs().find(|(known, _)| known == name).unwrap().1.into_owned()
}

/// The addresses that the links and forms of a page lead to.
pub fn links(page: &str) -> Vec<String> {
    let attribute =
        |name: &str| page.split(&format!("{name}=\"")).skip(1).map(str::to_owned).collect::<Vec<_>>();
    let all = [attribute("href"), attribute("action")].concat();
    let value = |rest: String| rest.split('"').next().unwrap().replace("&#38;", "&");
    all.into_iter().map(value).filter(|href| !href.ends_with(".css") && !href.ends_with(".svg")).collect()
}
