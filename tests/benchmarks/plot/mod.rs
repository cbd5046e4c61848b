//! Draws plots as SVG without a background: a file for light pages and one for dark pages.

use std::{io, path::Path};

use plotters::{
    coord::Shift,
    drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea},
    prelude::{RGBColor, SVGBackend},
    style::{
        Color, FontDesc, FontFamily, FontStyle, TextStyle,
        text_anchor::{HPos, Pos, VPos},
    },
};

/// A drawing area in pixels.
pub(crate) type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub(crate) type Drawn = Result<(), DrawingAreaErrorKind<io::Error>>;

/// The colours of a page.
pub(crate) struct Theme {
    pub(crate) ink: RGBColor,
    pub(crate) muted: RGBColor,
    /// For this crate.
    pub(crate) ours: RGBColor,
    /// For everything else.
    pub(crate) others: RGBColor,
}

const LIGHT: Theme = Theme {
    ink: RGBColor(0x1f, 0x23, 0x28),
    muted: RGBColor(0x59, 0x63, 0x6e),
    ours: RGBColor(0x1a, 0x7f, 0x4b),
    others: RGBColor(0xa3, 0xad, 0xb8),
};

const DARK: Theme = Theme {
    ink: RGBColor(0xf0, 0xf6, 0xfc),
    muted: RGBColor(0x9d, 0xa7, 0xb3),
    ours: RGBColor(0x3f, 0xb9, 0x6c),
    others: RGBColor(0x6b, 0x76, 0x82),
};

/// A size of text. The backend writes it divided by 1.24, to get pixels.
#[derive(Clone, Copy)]
pub(crate) enum Size {
    Title,
    Label,
    Note,
}

/// Returns a text style with this anchor.
pub(crate) fn text(size: Size, colour: RGBColor, horizontal: HPos) -> TextStyle<'static> {
    let (size, style) = match size {
        Size::Title => (25.0, FontStyle::Bold),
        Size::Label => (18.5, FontStyle::Normal),
        Size::Note => (15.5, FontStyle::Normal),
    };
    let font = FontDesc::new(FontFamily::SansSerif, size, style);
    let mut style = TextStyle::from(font).pos(Pos::new(horizontal, VPos::Center));
    style.color = colour.to_backend_color();
    style
}

/// Draws a title, a line below it and a plot to `file`, and the same in the colours of dark pages
/// to a file beside it: `http.svg` and `http-dark.svg`.
pub(crate) fn draw(
    file: &str,
    size: (u32, u32),
    title: &str,
    subtitle: &str,
    plot: impl Fn(&Canvas<'_>, &Theme) -> Drawn,
) {
    let stem = file.strip_suffix(".svg").unwrap_or_else(|| panic!("`--plot {file}`: use a name that ends in `.svg`"));
    for (file, theme) in [(file, LIGHT), (&format!("{stem}-dark.svg"), DARK)] {
        let canvas = SVGBackend::new(Path::new(file), size).into_drawing_area();
        let drawn = || {
            canvas.draw_text(title, &text(Size::Title, theme.ink, HPos::Left), (16, 24))?;
            canvas.draw_text(subtitle, &text(Size::Label, theme.muted, HPos::Left), (16, 52))?;
            plot(&canvas.margin(76, 8, 16, 16), &theme)?;
            canvas.present()
        };
        drawn().unwrap_or_else(|error| panic!("`--plot {file}`: {error}"));
    }
}
