use std::collections::BTreeSet;

use super::*;

/// What the page's files ask for: `src`, `href`, `from` and `ask` with a path.
fn asked_for() -> BTreeSet<&'static str> {
    let marks = ["src=\"", "href=\"", "from \"./", "ask(\""];
    let in_text = |text: &'static str| {
        marks.iter().flat_map(move |mark| {
            text.split(mark).skip(1).map(|rest| rest.split('"').next().unwrap_or_default())
        })
    };
    FILES.iter().flat_map(|(_, _, text)| in_text(text)).collect()
}

#[test]
fn everything_the_page_asks_for_is_in_the_program() {
    let known: BTreeSet<&str> = FILES.iter().map(|(path, ..)| &path[1..]).collect();
    let asked = asked_for();
    assert!(asked.contains("page.js") && asked.contains("chart.js"), "{asked:?}");
    for path in asked {
        assert!(path == "data:," || path == "api/state" || known.contains(path), "{path}");
    }
}

#[test]
fn no_file_names_another_site() {
    for (path, _, text) in FILES {
        let sites: Vec<&str> = text
            .match_indices("://")
            .map(|(at, _)| text[at + 3..].split(['"', '\'', '/']).next().unwrap_or_default())
            .collect();
        assert!(sites.iter().all(|site| *site == "www.w3.org"), "{path}: {sites:?}");
    }
}
