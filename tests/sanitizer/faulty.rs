//! Reads memory that it freed: what a sanitizer that works finds.

fn main() {
    let freed = {
        let value = Box::new(7_u8);
        std::ptr::from_ref(&*value)
    };
    // SAFETY: none, on purpose.
    std::process::exit(unsafe { freed.read_volatile() }.into());
}
