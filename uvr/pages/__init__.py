"""Pages of HTML that stand alone: their templates, plots and pictures, all within one file."""
