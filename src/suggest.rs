//! [`closest`]: the word somebody may have meant.

/// The candidate nearest to `word`, if one is near enough to be worth suggesting. Letters in
/// another order are nearer than one too few: `modle` is `model`, not `module`.
pub fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let letters = |word: &str| {
        let mut letters: Vec<char> = word.chars().collect();
        letters.sort_unstable();
        letters
    };
    let own = letters(word);
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(similarity, _)| *similarity >= 0.75)
        .map(|(similarity, candidate)| (letters(candidate) == own, similarity, candidate))
        .max_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)))
        .map(|(.., candidate)| candidate)
}

fn has_digit(word: &str) -> bool {
    word.contains(|char: char| char.is_ascii_digit())
}

/// Whether two words are the same but for their numbers: `fp8` and `fp16`.
fn differ_in_numbers(a: &str, b: &str) -> bool {
    let is_digit = |char: &char| char.is_ascii_digit();
    let digits = |word: &str| word.chars().filter(is_digit).collect::<String>();
    let rest = |word: &str| word.chars().filter(|char| !is_digit(char)).collect::<String>();
    let numbers = [digits(a), digits(b)];
    rest(a) == rest(b) && numbers[0] != numbers[1] && numbers.iter().all(|one| !one.is_empty())
}

/// "did you mean `x`?" where there is a near candidate, else the list of all of them. Numbers are
/// not near each other: one digit is another thing, not a slip, and a word without digits may mean any
/// of those with them: `float` is not rather `float16` than `float32`.
pub fn did_you_mean<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str> + Clone,
    what: &str,
) -> String {
    if let Some(near) = closest(word, candidates.clone())
        && !differ_in_numbers(word, near)
        && (has_digit(word)
            || !candidates.clone().into_iter().any(|other| differ_in_numbers(near, other)))
    {
        return format!("did you mean `{near}`?");
    }
    let all: Vec<String> = candidates.into_iter().map(|name| format!("`{name}`")).collect();
    match all.len() {
        0 => format!("there are no {what}"),
        1..=16 => format!("{what}: {}", all.join(", ")),
        more => format!("{what}: {}, and {} more", all[..12].join(", "), more - 12),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_fingers_is_recognised_and_a_different_word_is_not() {
        assert_eq!(closest("imput", ["output", "input"]), Some("input"));
        assert_eq!(closest("xyz", ["output", "input"]), None);
        assert_eq!(closest("modle", ["model", "module"]), Some("model"));
        assert_eq!(did_you_mean("q", ["a", "b"], "arrays"), "arrays: `a`, `b`");
        let floats = ["float16", "float32", "int8"];
        assert_eq!(did_you_mean("float", floats, "types"), "types: `float16`, `float32`, `int8`");
        assert_eq!(did_you_mean("flot16", floats, "types"), "did you mean `float16`?");
        assert_eq!(did_you_mean("9.0", ["8.0", "8.9"], "choices"), "choices: `8.0`, `8.9`");
        assert_eq!(did_you_mean("int4", ["int8"], "choices"), "choices: `int8`");
        assert_eq!(did_you_mean("image", ["image1"], "inputs"), "did you mean `image1`?");
        assert_eq!(did_you_mean("q", [], "arrays"), "there are no arrays");
    }
}
