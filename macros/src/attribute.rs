//! The two attributes, and the runtime flavors that they can ask for.
//!
//! `arguments` reads these values and `entry` expands them; neither needs the other for it.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote};
use syn::Error;

/// Which attribute is being expanded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum EntryAttribute {
    Main,
    Test,
}

impl EntryAttribute {
    /// The attribute as the user writes it.
    pub(crate) fn attribute(self) -> &'static str {
        match self {
            Self::Main => "procession::main",
            Self::Test => "procession::test",
        }
    }

    pub(crate) fn default_flavor(self) -> RuntimeFlavor {
        match self {
            Self::Main => RuntimeFlavor::MultiThread,
            Self::Test => RuntimeFlavor::CurrentThread,
        }
    }

    /// The first statement of the expansion: in a child it never returns.
    pub(crate) fn opening(self, procession: &impl ToTokens) -> TokenStream {
        match self {
            Self::Main => quote!(#procession::init();),
            Self::Test => quote!(#procession::__private::enter_from_test();),
        }
    }
}

/// Tokio's kinds of runtime.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum RuntimeFlavor {
    MultiThread,
    CurrentThread,
    Local,
}

impl RuntimeFlavor {
    pub(crate) fn named(name: &str, span: Span) -> Result<Self, Error> {
        let message = match name {
            "multi_thread" => return Ok(Self::MultiThread),
            "current_thread" => return Ok(Self::CurrentThread),
            "local" => return Ok(Self::Local),
            "single_thread" | "basic_scheduler" => {
                format!("the runtime flavor `{name}` is called `current_thread`")
            }
            "threaded_scheduler" => {
                format!("the runtime flavor `{name}` is called `multi_thread`")
            }
            _ => format!(
                "there is no runtime flavor `{name}`: expected one of `multi_thread`, \
                 `current_thread`, `local`"
            ),
        };
        Err(Error::new(span, message))
    }
}
