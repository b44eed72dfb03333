"""What every card says of an exam table's sources: name, licence, address, language of the reports, citation."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SourceFacts:
    """
    What is known of a source without looking at the data.

    Args:
        title (`str`): Its own name.
        licence (`str`): As its publisher states it.
        url (`str`, *optional*): Where it is published.
        report_languages (`tuple[str]`): ISO 639-1 codes of the reports that come with it, or that it is joined with.
        bibtex (`str`, *optional*): How its publisher wants it cited.
        simulated (`bool`, defaults to `False`): Made by a program and recorded from nobody.
    """

    title: str
    licence: str
    url: str | None = None
    report_languages: tuple[str, ...] = ()
    bibtex: str | None = None
    simulated: bool = False


_CODE15 = """@misc{ribeiro2021code15,
  title = {{CODE-15\\%}: a large scale annotated dataset of 12-lead {ECGs}},
  author = {Ribeiro, Ant{\\^o}nio H. and Paix{\\~a}o, Gabriela M. M. and Lima, Emilly M. and Horta Ribeiro, Manoel and
    Pinto Filho, Marcelo M. and Gomes, Paulo R. and Oliveira, Derick M. and Meira Jr, Wagner and Sch{\\"o}n, Thomas B.
    and Ribeiro, Antonio Luiz P.},
  publisher = {Zenodo},
  year = {2021},
  doi = {10.5281/zenodo.4916206}
}"""
_CODE_TEST = """@article{ribeiro2020automatic,
  title = {Automatic diagnosis of the 12-lead {ECG} using a deep neural network},
  author = {Ribeiro, Ant{\\^o}nio H. and others},
  journal = {Nature Communications},
  volume = {11},
  pages = {1760},
  year = {2020},
  doi = {10.1038/s41467-020-15432-4}
}"""
_PTBXL = """@article{wagner2020ptbxl,
  title = {{PTB-XL}, a large publicly available electrocardiography dataset},
  author = {Wagner, Patrick and Strodthoff, Nils and Bousseljot, Ralf-Dieter and Kreiseler, Dieter and
    Lunze, Fatima I. and Samek, Wojciech and Schaeffter, Tobias},
  journal = {Scientific Data},
  volume = {7},
  pages = {154},
  year = {2020},
  doi = {10.1038/s41597-020-0495-6}
}"""
_MIMIC = """@misc{gow2023mimicivecg,
  title = {{MIMIC-IV-ECG}: Diagnostic Electrocardiogram Matched Subset},
  author = {Gow, Brian and others},
  publisher = {PhysioNet},
  year = {2023},
  doi = {10.13026/4nqg-sb35}
}"""

# By the value of the exam table's column `source`.
SOURCES = {
    "simulated": SourceFacts(
        title="ecgclip's simulator", licence="Apache-2.0, as the project", report_languages=("pt",), simulated=True
    ),
    "code15": SourceFacts(
        title="CODE-15%",
        licence="CC BY 4.0",
        url="https://zenodo.org/records/4916206",
        report_languages=("pt",),
        bibtex=_CODE15,
    ),
    "code_test": SourceFacts(
        title="CODE test set", licence="CC BY 4.0", url="https://zenodo.org/records/3765780", bibtex=_CODE_TEST
    ),
    "ptbxl": SourceFacts(
        title="PTB-XL",
        licence="CC BY 4.0",
        url="https://physionet.org/content/ptb-xl/",
        report_languages=("de", "en", "sv"),
        bibtex=_PTBXL,
    ),
    "mimic_iv_ecg": SourceFacts(
        title="MIMIC-IV-ECG",
        licence="ODbL 1.0",
        url="https://physionet.org/content/mimic-iv-ecg/",
        report_languages=("en",),
        bibtex=_MIMIC,
    ),
}


def source_facts(source: str) -> SourceFacts:
    """Returns what is known of a source; of one that is not in `SOURCES` its name, and that its licence is its own."""
    return SOURCES.get(source, SourceFacts(title=source, licence="its own"))
