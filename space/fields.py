"""The fields of [`Form`] as the page has them, wherever it asks for what a file does not state."""

from typing import Any

import gradio as gr

from modeling_ecgclip.leads_ecgclip import UNITS_PER_MV


def form_field(name: str, no_unit: str = "as the file states", **settings: Any) -> Any:
    """
    Returns a field.

    Args:
        name (`str`): Of an attribute of [`Form`].
        no_unit (`str`): What the list of units says where none is chosen.
        settings: Of the Gradio component: `visible`, `elem_id`.
    """
    if name == "sampling_rate":
        return gr.Number(label="Sampling rate, Hz", minimum=0, **settings)
    if name == "unit":
        return gr.Dropdown([(no_unit, ""), *UNITS_PER_MV], value="", label="Unit", **settings)
    if name == "lead_names":
        names = "I, II, III, aVR, aVL, aVF, V1 ... V6"
        return gr.Textbox(label="Leads in the order of the file", placeholder=names, max_lines=2, **settings)
    if name == "exam_id":
        return gr.Textbox(label="Exam id (HDF5)", max_lines=1, **settings)
    return gr.Checkbox(label=_SWITCHES[name], **settings)


_SWITCHES = {
    "repair_nan": "Fill short gaps of samples that were not recorded",
    "allow_missing_leads": "Accept missing leads: zeros stand in their place",
}


__all__ = ["form_field"]
