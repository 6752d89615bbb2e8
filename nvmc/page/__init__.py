"""A report that one can send: one HTML file that needs no network, from results.

`nvmc.page.sections.SECTIONS` is the table of what is on the page; a section is a file there and a
row. `nvmc.page.make` runs what a report shows, `nvmc.page.report` holds the results.
"""
