import xml.etree.ElementTree as ET

from chipmend.report.heat import heat


def test_heat_is_a_cell_for_every_number():
    drawing = ET.fromstring(heat("t", ["a", "b<"], [[1.0, 0.1, 0.0], [0.5, 0.0, 0.0]], [2, 1]))
    cells = list(drawing.iter("rect"))
    assert [cell.get("style") for cell in cells[:3]] == ["--heat:100%", "--heat:86%", "--heat:0%"]
    assert len(cells) == 6
    titles = [e.text for e in drawing.iter("title")]
    assert titles[3] == "b<, bit 0: 0.5"
    assert len(list(drawing.iter("path"))) == 2
