//! The lists of parameters for which the traits of functions are implemented.
//!
//! Each macro calls another macro once for each number of parameters: with the type of the arguments, a pattern for
//! them, and the name and the type of each.

macro_rules! up_to_four {
    ($implement:ident) => {
        $implement!((), (),);
        $implement!(A, a, a: A);
        $implement!((A, B), (a, b), a: A, b: B);
        $implement!((A, B, C), (a, b, c), a: A, b: B, c: C);
        $implement!((A, B, C, D), (a, b, c, d), a: A, b: B, c: C, d: D);
    };
}

macro_rules! up_to_seven {
    ($implement:ident) => {
        $crate::task::up_to_four!($implement);
        $implement!((A, B, C, D, E), (a, b, c, d, e), a: A, b: B, c: C, d: D, e: E);
        $implement!(
            (A, B, C, D, E, G), (a, b, c, d, e, g),
            a: A, b: B, c: C, d: D, e: E, g: G
        );
        $implement!(
            (A, B, C, D, E, G, H), (a, b, c, d, e, g, h),
            a: A, b: B, c: C, d: D, e: E, g: G, h: H
        );
    };
}

macro_rules! up_to_eight {
    ($implement:ident) => {
        $crate::task::up_to_seven!($implement);
        $implement!(
            (A, B, C, D, E, G, H, I), (a, b, c, d, e, g, h, i),
            a: A, b: B, c: C, d: D, e: E, g: G, h: H, i: I
        );
    };
}

pub(crate) use {up_to_eight, up_to_four, up_to_seven};
