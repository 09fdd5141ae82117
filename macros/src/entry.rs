//! Expands an `async fn` with one of the attributes to a plain function that runs it on a runtime.
//!
//! The body stays unparsed: the compiler reports a mistake in it at its own place.
//!
//! Must stay true: the first statement of the expansion is the call that never returns in a child,
//! and no statement of the user's runs before it.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned;
use syn::token::Brace;
use syn::{AttrStyle, Attribute, Error, ReturnType, Signature, Type, Visibility, braced};

use crate::arguments::{Arguments, join};
use crate::attribute::{EntryAttribute, RuntimeFlavor};

/// Expands `item` under the attribute `entry` with `arguments`.
pub(crate) fn expand(
    entry: EntryAttribute,
    arguments: TokenStream,
    item: TokenStream,
) -> TokenStream {
    let mut function = match syn::parse2::<Function>(item.clone()) {
        Ok(function) => function,
        Err(error) => return with_error(error, item),
    };
    let (arguments, mut faults) = Arguments::read(entry, arguments);
    if let Some(error) = function.fault(entry) {
        join(&mut faults, error);
    }
    let expansion = if function.is_main_with_inputs(entry) {
        function.inside_main()
    } else {
        if entry == EntryAttribute::Test {
            function.attributes.retain(|attribute| !is_test(attribute));
        }
        function.expanded(entry, &arguments)
    };
    match faults {
        Some(error) => with_error(error, expansion),
        None => expansion,
    }
}

/// A function with an unparsed body.
struct Function {
    attributes: Vec<Attribute>,
    visibility: Visibility,
    signature: Signature,
    braces: Brace,
    body: TokenStream,
}

impl Function {
    /// The error of a function that `entry` does not accept.
    fn fault(&self, entry: EntryAttribute) -> Option<Error> {
        let attribute = entry.attribute();
        if self.signature.asyncness.is_none() {
            let message = format!("`#[{attribute}]` needs an `async fn`: the `async` is missing");
            return Some(Error::new_spanned(self.signature.fn_token, message));
        }
        if self.is_main_with_inputs(entry) {
            let message = "`main` takes no arguments";
            return Some(Error::new_spanned(&self.signature.inputs, message));
        }
        let second = self.attributes.iter().find(|attribute| is_test(attribute));
        let second = second.filter(|_| entry == EntryAttribute::Test)?;
        let message = format!("a second test attribute: `#[{attribute}]` alone makes this a test");
        Some(Error::new_spanned(second, message))
    }

    fn is_main_with_inputs(&self, entry: EntryAttribute) -> bool {
        let signature = &self.signature;
        entry == EntryAttribute::Main && signature.ident == "main" && !signature.inputs.is_empty()
    }

    /// The unchanged function, inside a `main` that the compiler accepts.
    fn inside_main(&self) -> TokenStream {
        let name = &self.signature.ident;
        quote! {
            fn #name() {
                #[allow(dead_code)]
                #self
            }
        }
    }

    fn expanded(mut self, entry: EntryAttribute, arguments: &Arguments) -> TokenStream {
        let opening = entry.opening(&arguments.procession);
        let runtime = runtime(arguments);
        let future = self.future();
        self.signature.asyncness = None;
        // Every test has its own future type. Behind `dyn` all tests share one copy of `block_on`.
        let future = match entry {
            EntryAttribute::Main => future,
            EntryAttribute::Test => quote! {
                ::core::pin::pin!(#future)
                    as ::core::pin::Pin<&mut dyn ::core::future::Future<Output = _>>
            },
        };
        let block = quote! {
            #opening
            #[allow(clippy::expect_used, clippy::unwrap_in_result)]
            {
                #runtime
                    .expect("the Tokio runtime could not be built")
                    .block_on(#future)
            }
        };
        if entry == EntryAttribute::Test {
            self.attributes
                .push(syn::parse_quote!(#[::core::prelude::v1::test]));
        }
        self.body = block;
        self.into_token_stream()
    }

    /// The body as an `async` block, with the function's return type.
    ///
    /// An `async` block cannot declare its output type, so a mismatch would be reported at the end of
    /// the expansion. A `return` that never runs declares the type first, and the compiler then
    /// reports the statement at fault. (`tracing`'s `#[instrument]` does the same.)
    fn future(&self) -> TokenStream {
        let (braces, body) = (&self.braces, &self.body);
        // With the span of the user's own `async`: the compiler explains a misplaced `?` there.
        let keyword = self.signature.asyncness.unwrap_or_default();
        let typed = self.output().map(|output| {
            let place = Span::mixed_site().located_at(output.span());
            quote_spanned! {place=>
                #[allow(
                    unreachable_code,
                    clippy::diverging_sub_expression,
                    clippy::empty_loop,
                    clippy::let_unit_value,
                    clippy::needless_return
                )]
                if false {
                    let output: #output = loop {};
                    return output;
                }
            }
        });
        let mut block = TokenStream::new();
        braces.surround(&mut block, |tokens| tokens.extend(quote!(#typed #body)));
        quote!(#keyword #block)
    }

    /// The return type, if a variable can be declared with it: `!` and `impl Trait` cannot.
    fn output(&self) -> Option<TokenStream> {
        match &self.signature.output {
            ReturnType::Default => {
                let place = self.signature.ident.span();
                Some(quote_spanned!(place=> ()))
            }
            ReturnType::Type(_, output) => {
                let tokens = output.to_token_stream();
                let nameable = !matches!(**output, Type::Never(_)) && !mentions_impl(&tokens);
                nameable.then_some(tokens)
            }
        }
    }
}

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let mut attributes = input.call(Attribute::parse_outer)?;
        let visibility = input.parse()?;
        let signature = input.parse()?;
        let content;
        let braces = braced!(content in input);
        // The body moves into a block, where inner attributes are not allowed.
        for mut attribute in content.call(Attribute::parse_inner)? {
            attribute.style = AttrStyle::Outer;
            attributes.push(attribute);
        }
        let body = content.parse()?;
        Ok(Self {
            attributes,
            visibility,
            signature,
            braces,
            body,
        })
    }
}

impl ToTokens for Function {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let Self {
            attributes,
            visibility,
            signature,
            braces,
            body,
        } = self;
        tokens.extend(quote!(#(#attributes)* #visibility #signature));
        braces.surround(tokens, |tokens| tokens.extend(body.clone()));
    }
}

/// The expression that builds the runtime.
fn runtime(arguments: &Arguments) -> TokenStream {
    let procession = &arguments.procession;
    let constructor = match arguments.flavor {
        RuntimeFlavor::MultiThread => quote!(new_multi_thread),
        RuntimeFlavor::CurrentThread | RuntimeFlavor::Local => quote!(new_current_thread),
    };
    let build = match arguments.flavor {
        RuntimeFlavor::MultiThread | RuntimeFlavor::CurrentThread => quote!(build()),
        RuntimeFlavor::Local => quote!(build_local(::core::default::Default::default())),
    };
    let worker_threads = arguments
        .worker_threads
        .map(|count| quote!(.worker_threads(#count)));
    // A Tokio without `test-util` lacks this method: the error gets the argument's span.
    let start_paused = arguments
        .start_paused
        .map(|(paused, span)| quote_spanned!(span=> .start_paused(#paused)));
    let name = arguments.name.as_ref().map(|name| quote!(.name(#name)));
    quote! {
        #procession::__private::tokio::runtime::Builder::#constructor()
            #worker_threads
            #start_paused
            #name
            .enable_all()
            .#build
    }
}

/// Whether this is `#[test]` by any path: `core`'s, Tokio's, another crate's.
fn is_test(attribute: &Attribute) -> bool {
    attribute
        .path()
        .segments
        .last()
        .is_some_and(|segment| segment.ident == "test")
}

fn mentions_impl(tokens: &TokenStream) -> bool {
    tokens.clone().into_iter().any(|token| match token {
        proc_macro2::TokenTree::Ident(ident) => ident == "impl",
        proc_macro2::TokenTree::Group(group) => mentions_impl(&group.stream()),
        _ => false,
    })
}

/// The error, followed by the code that the compiler checks as well.
fn with_error(error: Error, expansion: TokenStream) -> TokenStream {
    let mut tokens = error.into_compile_error();
    tokens.extend(expansion);
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text of a token stream without spaces: they depend on the origin of the tokens.
    fn without_spaces(tokens: &TokenStream) -> String {
        tokens.to_string().split_whitespace().collect()
    }

    #[track_caller]
    fn expands(
        entry: EntryAttribute,
        arguments: TokenStream,
        item: TokenStream,
        expected: &TokenStream,
    ) {
        let expansion = expand(entry, arguments, item);
        assert_eq!(without_spaces(&expansion), without_spaces(expected));
    }

    /// Expands a function with a mistake to one error that contains `words`, and the rest.
    #[track_caller]
    fn refuses(entry: EntryAttribute, item: TokenStream, words: &str) -> String {
        let expansion = expand(entry, quote!(), item).to_string();
        assert_eq!(expansion.matches("compile_error").count(), 1, "{expansion}");
        assert!(
            expansion.contains(words),
            "{expansion} should say {words:?}"
        );
        expansion
    }

    fn typed(output: &TokenStream) -> TokenStream {
        quote! {
            #[allow(
                unreachable_code,
                clippy::diverging_sub_expression,
                clippy::empty_loop,
                clippy::let_unit_value,
                clippy::needless_return
            )]
            if false {
                let output: #output = loop {};
                return output;
            }
        }
    }

    #[test]
    fn main_calls_init_first() {
        let typed = typed(&quote!(Result<(), E>));
        expands(
            EntryAttribute::Main,
            quote!(worker_threads = 2),
            quote! {
                /// Documented.
                pub async fn main() -> Result<(), E> { #![allow(x)] work().await?; Ok(()) }
            },
            &quote! {
                /// Documented.
                #[allow(x)]
                pub fn main() -> Result<(), E> {
                    ::procession::init();
                    #[allow(clippy::expect_used, clippy::unwrap_in_result)]
                    {
                        ::procession::__private::tokio::runtime::Builder::new_multi_thread()
                            .worker_threads(2usize)
                            .enable_all()
                            .build()
                            .expect("the Tokio runtime could not be built")
                            .block_on(async { #typed work().await?; Ok(()) })
                    }
                }
            },
        );
    }

    #[test]
    fn test_keeps_attributes_and_enters_first() {
        let typed = typed(&quote!(()));
        expands(
            EntryAttribute::Test,
            quote!(start_paused = true, name = "rt", crate = "elsewhere"),
            quote! { #[ignore] #[should_panic(expected = "x")] async fn works() { go().await; } },
            &quote! {
                #[ignore]
                #[should_panic(expected = "x")]
                #[::core::prelude::v1::test]
                fn works() {
                    elsewhere::__private::enter_from_test();
                    #[allow(clippy::expect_used, clippy::unwrap_in_result)]
                    {
                        elsewhere::__private::tokio::runtime::Builder::new_current_thread()
                            .start_paused(true)
                            .name("rt")
                            .enable_all()
                            .build()
                            .expect("the Tokio runtime could not be built")
                            .block_on(
                                ::core::pin::pin!(async { #typed go().await; })
                                    as ::core::pin::Pin<
                                        &mut dyn ::core::future::Future<Output = _>
                                    >
                            )
                    }
                }
            },
        );
    }

    #[test]
    fn local_flavor_calls_build_local() {
        let item = quote! { async fn main() {} };
        let expansion = expand(EntryAttribute::Main, quote!(flavor = "local"), item).to_string();
        let build = quote!(.build_local(::core::default::Default::default())).to_string();
        assert!(expansion.contains(&build), "{expansion}");
    }

    #[test]
    fn unnameable_return_types_are_not_declared() {
        for output in [quote!(!), quote!(impl A), quote!(Result<impl A, ()>)] {
            let item = quote! { async fn main() -> #output { done().await } };
            let expansion = expand(EntryAttribute::Main, quote!(), item).to_string();
            assert!(!expansion.contains("if false"), "{expansion}");
        }
    }

    #[test]
    fn function_that_is_not_async_is_refused() {
        let item = quote! { fn main() {} };
        let expansion = refuses(EntryAttribute::Main, item, "`async` is missing");
        assert!(expansion.contains("init"), "{expansion}");
        let item = quote! { fn works() {} };
        refuses(EntryAttribute::Test, item, "`async` is missing");
    }

    #[test]
    fn main_with_arguments_is_refused() {
        let item = quote! { async fn main(words: Vec<String>) { drop(words) } };
        let expansion = refuses(EntryAttribute::Main, item, "takes no arguments");
        assert!(expansion.contains("fn main () {"), "{expansion}");
    }

    #[test]
    fn other_functions_may_have_arguments() {
        let item = quote! { async fn serve(port: u16) { listen(port).await } };
        let expansion = expand(EntryAttribute::Main, quote!(), item).to_string();
        assert!(!expansion.contains("compile_error"), "{expansion}");
    }

    #[test]
    fn second_test_attribute_is_refused_and_dropped() {
        let seconds = [
            quote!(test),
            quote!(::core::prelude::v1::test),
            quote!(tokio::test),
        ];
        for second in seconds {
            let item = quote! { #[#second] #[ignore] async fn works() {} };
            let expansion = refuses(EntryAttribute::Test, item, "second test attribute");
            let tests = expansion.matches("test]").count();
            assert_eq!(tests, 2, "the message's and ours: {expansion}");
            assert!(expansion.contains("ignore"), "{expansion}");
        }
    }

    #[test]
    fn item_that_is_no_function_is_kept() {
        let item = quote! { struct Main; };
        let expansion = refuses(EntryAttribute::Main, item, "expected");
        assert!(expansion.ends_with("struct Main ;"), "{expansion}");
    }

    #[test]
    fn wrong_argument_keeps_the_expansion() {
        let item = quote! { async fn main() {} };
        let expansion = expand(EntryAttribute::Main, quote!(threads = 4), item).to_string();
        assert_eq!(expansion.matches("compile_error").count(), 1, "{expansion}");
        assert!(expansion.contains("block_on"), "{expansion}");
    }
}
