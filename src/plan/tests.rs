use proptest::prelude::*;

use super::*;

const SPEC: &str = "version: 1
vars: { word: hello, many: [a, b], flag: true, number: 7 }
stages:
  a:
    command:
      run: [echo, \"${word}\", \"x-${number}-${flag}\", \"$${HOME}\", \"${inputs.i}\"]
      inputs: { i: in.txt }
      deterministic: \"${flag}\"
";

fn never_panics(text: &str) {
    let source = Arc::new(SourceFile::new("p.yaml", text));
    let _ = Plan::parse(Path::new("/nowhere/p.yaml"), source, &Overrides::default());
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,80}|[ \\n\\t:\\-\\[\\]{}&*!|>'\"#%@`,?a-z0-9$]{0,120}") {
        never_panics(&text);
    }

    #[test]
    fn no_damage_to_a_spec_makes_the_parser_panic(
        cuts in proptest::collection::vec((0_usize..400, 0_usize..12, "[ \\n:{}\\[\\]&*a$\"]{0,3}"), 1..5),
    ) {
        let mut text = format!("{SPEC}  b: {{ build: {{ from: a, profiles: [{{ x: {{ min: [1], opt: [2], max: [3] }} }}] }} }}\n");
        for (at, len, with) in cuts {
            let start = at.min(text.len());
            let end = (start + len).min(text.len());
            if text.is_char_boundary(start) && text.is_char_boundary(end) {
                text.replace_range(start..end, &with);
            }
        }
        never_panics(&text);
    }
}
