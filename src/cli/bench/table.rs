//! [`Numbers`]: tables of numbers.

use comfy_table::{CellAlignment, Table, presets};

/// A table without lines, all its columns but the first at their right edge.
pub(super) struct Numbers(Table);

impl Numbers {
    pub(super) fn new<const N: usize>(header: [&str; N]) -> Self {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING);
        table.set_header(header);
        Self(table)
    }

    pub(super) fn row<const N: usize>(&mut self, name: &str, cells: [String; N]) {
        self.0.add_row([name.to_owned()].into_iter().chain(cells));
    }

    pub(super) fn text(mut self) -> String {
        for column in self.0.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        format!("{}\n", self.0.trim_fmt())
    }
}
