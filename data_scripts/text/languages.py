"""The words of ECG reports in four languages: what heads a conclusion or a description, and what names a diagnosis.

Nothing here is specific to one archive; headings of one's own come from the command line. How the words are written:

    conclusion|conclusions [of] [the] ECG    blanks between words, | between forms of one, [] around what may be absent
    *flimmern, bradycard*                    * at an end of a word: any letters, as in "Vorhofflimmern"
    AV-block                                 - stands for a hyphen, a blank or nothing
    Befund/Beurteilung                       / may have blanks around it

Case and accents do not matter.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from data_scripts.text.folding import fold


# What a description may say: listed where it stands in one, but no diagnosis, and no label is called so.
FINDINGS = frozenset({"sinus rhythm", "within normal limits"})


@dataclass(frozen=True)
class Language:
    """
    Words of the reports in one language.

    Args:
        name (`str`): In English.
        conclusions (`tuple[str]`): Headings of a conclusion.
        descriptions (`tuple[str]`): Headings of a description.
        whole_reports (`tuple[str]`): What heads a description where a conclusion follows, or else the whole report.
        diagnoses (`Mapping[str, tuple[str]]`):
            Words that name a diagnosis, by the diagnosis in English; those of [`FINDINGS`] are listed with them.
        qualifiers (`tuple[str]`): Words that say of a diagnosis beside them which one: its side, degree or chamber.
        strict (`bool`, defaults to `True`):
            A heading needs its colon, dash, list or line of its own; otherwise the start of a sentence will do.
    """

    name: str
    conclusions: tuple[str, ...]
    descriptions: tuple[str, ...]
    whole_reports: tuple[str, ...]
    diagnoses: Mapping[str, tuple[str, ...]]
    qualifiers: tuple[str, ...]
    strict: bool = True


PORTUGUESE = Language(
    name="Portuguese",
    conclusions=(
        "conclusão|conclusões [diagnóstica]",
        "impressão [diagnóstica]",
        "[hipótese|hipóteses] diagnóstico|diagnóstica|diagnósticos|diagnósticas",
    ),
    descriptions=(
        "descrição|laudo|análise [do] ECG|eletrocardiograma",
        "descrição|laudo|análise",
    ),
    whole_reports=(),
    diagnoses={
        "sinus rhythm": ("ritmo sinusal",),
        "bradycardia": ("bradicardi*", "bradicárdic*", "bradiarritmi*"),
        "tachycardia": ("taquicardi*", "taquicárdic*", "taquiarritmi*", "TSV|TPSV|TVNS"),
        "fibrillation": ("fibrilação|fibrilações", "FA|FAP"),
        "flutter": ("flutter",),
        "arrhythmia": ("arritmi*",),
        "AV block": ("bloqueio|bloqueios atrio-ventricular|A-V", "BAV*"),
        "right bundle branch block": (
            "bloqueio [completo|incompleto|avançado] de|do|no ramo direito",
            "BRD|BCRD|BIRD",
        ),
        "left bundle branch block": (
            "bloqueio [completo|incompleto|avançado] de|do|no ramo esquerdo",
            "BRE|BCRE|BIRE",
        ),
        "bundle branch block": ("bloqueio|bloqueios [completo|incompleto|avançado] de|do|dos|no ramo|ramos",),
        "fascicular block": (
            "bloqueio divisional|fascicular|bifascicular|trifascicular",
            "bloqueio da|do divisão|fascículo",
            "hemi-bloqueio",
            "BDAS|BDPI",
        ),
        "infarction": ("infarto|infartos", "eletricamente inativa|inativas", "IAM"),
        "ischaemia": ("isquemi*", "isquêmic*"),
        "hypertrophy": ("hipertrofi*", "hipertrófic*", "sobrecarga|sobrecargas", "HVE|HVD"),
        "pre-excitation": ("pré-excitação", "Wolff-Parkinson"),
        "pericarditis": ("pericardite",),
        "pacing": ("marca-passo|marca-passos",),
        "grade of the ECG": (
            "ECG|eletrocardiograma|exame|traçado normal|anormal",
            "ECG|eletrocardiograma|exame|traçado [está] dentro dos limites [da] normalidade|normais",
        ),
        "within normal limits": ("dentro dos limites [da] normalidade|normais",),
    },
    qualifiers=(
        "atrial|ventricular|supraventricular|sinusal|paroxística|paroxístico",
        "completo|completa|incompleto|incompleta|total|parcial|avançado",
        "[do|no|de] [ramo|ventrículo|átrio] direito|esquerdo|direita|esquerda",
        "[de|do] primeiro|segundo|terceiro|1o|2o|3o|1°|2°|3°|1|2|3|I|II|III grau",
        "ântero-superior|póstero-inferior",
    ),
    strict=False,
)

_CONCLUSION = (
    "conclusion|conclusions|impression|impressions|interpretation|interpretations|diagnosis|diagnoses|summary|opinion"
)
ENGLISH = Language(
    name="English",
    conclusions=(
        "[in|final|overall|clinical|diagnostic|electrocardiographic|ECG|EKG|computer|automated|physician|preliminary|"
        f"provisional|working|differential|primary|principal] {_CONCLUSION} [of] [the|this] [ECG|EKG|tracing|"
        "electrocardiogram]",
    ),
    descriptions=(
        "[ECG|EKG|electrocardiographic] description|findings|finding [of] [the|this] "
        "[ECG|EKG|tracing|electrocardiogram]",
    ),
    whole_reports=("[ECG|EKG] report",),
    diagnoses={
        "sinus rhythm": ("sinus rhythm",),
        "bradycardia": ("bradycard*", "bradyarrhythmi*", "SBRAD"),
        "tachycardia": ("tachycard*", "tachyarrhythmi*", "SVT|PSVT|NSVT|VT|STACH"),
        "fibrillation": ("fibrillation|fibrillations", "AF|A-fib|V-fib"),
        "flutter": ("*flutter", "AFL"),
        "arrhythmia": ("arrhythmi*", "dysrhythmi*"),
        "AV block": (
            "AV-block|A-V-block|atrio-ventricular-block",
            "heart block|blocks",
            "*AVB",
            "1st|first|2nd|second|3rd|third degree|deg AV|A-V|block",
        ),
        "right bundle branch block": ("right-bundle-branch", "*RBBB"),
        "left bundle branch block": ("left-bundle-branch", "*LBBB"),
        "bundle branch block": ("bundle-branch", "BBB"),
        "fascicular block": ("fascicular|bifascicular|trifascicular block", "hemi-block", "LAFB|LPFB|LAHB|LPHB"),
        "infarction": ("infarct*", "myocardial damage", "MI|AMI|STEMI|NSTEMI"),
        "ischaemia": ("ischemi*", "ischaemi*"),
        "hypertrophy": ("hypertroph*", "LVH|RVH|BVH", "atrial|ventricular|biatrial enlargement|overload"),
        "pre-excitation": ("pre-excit*", "WPW", "Wolff-Parkinson"),
        "pericarditis": ("pericarditis",),
        "pacing": ("pacemaker", "paced|pacing"),
        "grade of the ECG": (
            "normal|abnormal|borderline ECG|EKG|electrocardiogram|tracing",
            "ECG|EKG|electrocardiogram|tracing [is] within normal limits",
            "no definite pathology",
        ),
        "within normal limits": ("within normal limits",),
    },
    qualifiers=(
        "sinus|atrial|ventricular|supraventricular|junctional|paroxysmal",
        "complete|incomplete|partial|high-grade|advanced",
        "right|left|anterior|posterior|biventricular",
        "first|second|third|1st|2nd|3rd|1|2|3 degree|deg",
        "block|blocks",
    ),
)

SPANISH = Language(
    name="Spanish",
    # "Diagnóstico:" and "Diagnóstico final:" are written as in Portuguese, whose rules hold for them.
    conclusions=(
        "conclusión|conclusiones|impresión|impresiones|interpretación|interpretaciones|valoración|resumen "
        "[diagnóstica|diagnósticas|diagnóstico|clínica|final|finales|general|electrocardiográfica|"
        "electrocardiográficas] [del|de] [ECG|EKG|electrocardiograma|trazado]",
        "juicio|orientación|sospecha|hipótesis diagnóstico|diagnóstica|diagnósticas|clínico|clínica",
        "diagnóstico|diagnósticos electrocardiográfico|electrocardiográficos",
    ),
    descriptions=(
        "descripción|hallazgos|hallazgo [electrocardiográficos|electrocardiográfica] [del|de] "
        "[ECG|EKG|electrocardiograma|trazado]",
    ),
    whole_reports=("informe|reporte [del|de] [ECG|EKG|electrocardiograma]",),
    diagnoses={
        "sinus rhythm": ("ritmo sinusal",),
        "bradycardia": ("bradicardi*", "bradiarritmi*"),
        "tachycardia": ("taquicardi*", "taquiarritmi*"),
        "fibrillation": ("fibrilación|fibrilaciones", "FA|FAA"),
        "flutter": ("flutter", "aleteo auricular"),
        "arrhythmia": ("arritmi*",),
        "AV block": ("bloqueo|bloqueos auriculo-ventricular|atrio-ventricular|A-V", "BAV*"),
        "right bundle branch block": (
            "bloqueo [completo|incompleto|avanzado] de|en [la] rama derecha",
            "BRD|BCRD|BIRD|BRDHH|BCRDHH|BIRDHH",
        ),
        "left bundle branch block": (
            "bloqueo [completo|incompleto|avanzado] de|en [la] rama izquierda",
            "BRI|BCRI|BIRI|BRIHH|BCRIHH|BIRIHH",
        ),
        "bundle branch block": ("bloqueo|bloqueos [completo|incompleto|avanzado] de|en [la] rama|ramas",),
        "fascicular block": ("hemi-bloqueo", "bloqueo fascicular|bifascicular|trifascicular", "HBAI|HARI|HBPI"),
        "infarction": ("infarto|infartos", "necrosis", "IAM|IAMCEST|SCACEST"),
        "ischaemia": ("isquemi*", "isquémic*"),
        "hypertrophy": (
            "hipertrofi*",
            "hipertrófic*",
            "sobrecarga|sobrecargas",
            "crecimiento auricular|ventricular|biauricular|biventricular",
            "HVI|HVD",
        ),
        "pre-excitation": ("pre-excitación", "Wolff-Parkinson"),
        "pericarditis": ("pericarditis",),
        "pacing": ("marca-pasos",),
        "grade of the ECG": (
            "ECG|EKG|electrocardiograma|trazado normal|anormal|patológico",
            "ECG|EKG|electrocardiograma|trazado [está] dentro de [los] límites normales|normalidad",
        ),
        "within normal limits": ("dentro de [los] límites [de] [la] normales|normalidad",),
    },
    qualifiers=(
        "auricular|ventricular|supraventricular|sinusal|paroxística|paroxístico",
        "completo|completa|incompleto|incompleta|avanzado",
        "[del|de] haz|his",
        "[de] [la] [rama] derecha|izquierda|derecho|izquierdo",
        "[de] primer|segundo|tercer|1er|2do|3er|1o|2o|3o|1|2|3|I|II|III grado",
    ),
)

GERMAN = Language(
    name="German",
    # Compounds only where they are listed, or with a hyphen ("EKG-Beurteilung:"): "Grenzbefund:" heads nothing.
    conclusions=(
        "Befund/Beurteilung|Befund/Diagnose|Befund/Interpretation [des] [EKG|EKGs]",
        "Befund und|u.|&|+ Beurteilung|Diagnose|Interpretation [des] [EKG|EKGs]",
        "[abschließende|abschliessende|zusammenfassende|klinische|ärztliche|aerztliche|elektrokardiographische|"
        "elektrokardiografische] Beurteilung|Gesamtbeurteilung|Abschlussbeurteilung|Schlussbeurteilung|Bewertung|"
        "Gesamtbewertung|Einschätzung|Einschaetzung|Interpretation|Zusammenfassung|Diagnose|Diagnosen|"
        "Verdachtsdiagnose|Verdachtsdiagnosen|Hauptdiagnose|Enddiagnose|Schlussfolgerung|Schlußfolgerung|"
        "Schlussfolgerungen|Fazit|Gesamteindruck [des] [EKG|EKGs]",
    ),
    descriptions=("Beschreibung|Befundbeschreibung [des] [EKG|EKGs]",),
    whole_reports=("Befund|Befunde|Befundbericht [des] [EKG|EKGs]",),
    diagnoses={
        "sinus rhythm": ("sinus-rhythmus",),
        "bradycardia": ("*bradykard*", "*bradycard*", "*bradyarrhythmi*"),
        "tachycardia": ("*tachykard*", "*tachycard*", "*tachyarrhythmi*"),
        "fibrillation": ("*flimmer*", "VHF|VHFli"),
        "flutter": ("vorhof-flattern", "kammer-flattern", "*flattern"),
        "arrhythmia": ("*arrhythmi*", "*arhythmi*"),
        "AV block": ("AV-block*", "A-V-block*", "atrio-ventrikulär|atrio-ventrikulärer block"),
        "right bundle branch block": ("*rechts-schenkel-block*", "RSB|IRSB|CRSB"),
        "left bundle branch block": ("*links-schenkel-block*", "LSB|ILSB|CLSB"),
        "bundle branch block": ("*schenkel-block*",),
        "fascicular block": ("*hemi-block*", "*faszikulär*", "*faszikulaer*", "LAHB|LPHB"),
        "infarction": ("*infarkt*", "*myokard-schaden|*myokard-schädigung|*myokard-schaedigung"),
        "ischaemia": ("*ischämi*", "*ischaemi*"),
        "hypertrophy": (
            "*hypertroph*",
            "vorhof-belastung|vorhofs-belastung|vorhof-überlastung|vorhofs-überlastung|vorhofs-ueberlastung",
            "links-belastung|rechts-belastung|linksherz-belastung|rechtsherz-belastung",
        ),
        "pre-excitation": ("prä-exzitation*", "prae-exzitation*", "prä-excitation*", "WPW"),
        "pericarditis": ("*perikarditis", "*pericarditis"),
        "pacing": ("*schrittmacher*",),
        "grade of the ECG": (
            "normales|abnormales|pathologisches|unauffälliges|unauffaelliges EKG|ruhe-EKG",
            "EKG [ist] normal|unauffällig|pathologisch",
            "grenz-befund|normal-befund",
        ),
        "within normal limits": ("im norm-bereich|normal-bereich", "innerhalb der norm|norm-grenzen"),
    },
    qualifiers=(
        "sinus|ventrikulär*|supraventrikulär*|paroxysmal*",
        "komplett*|inkomplett*|vollständig*|unvollständig*|höhergradig*",
        "links|rechts|links-anterior*|links-posterior*",
        "I.|II.|III.|1.|2.|3.|I|II|III|1|2|3 grades|grad",
        "I°|II°|III°|1°|2°|3°",
    ),
)

LANGUAGES = (PORTUGUESE, ENGLISH, SPANISH, GERMAN)


@dataclass(frozen=True)
class Words:
    """
    Phrases to look for in folded text.

    Args:
        pattern (`re.Pattern`): What they look like.
        letters (`tuple[str]`): One of these is in every text that has such a phrase; most texts are passed over so.
    """

    pattern: re.Pattern[str]
    letters: tuple[str, ...]

    @classmethod
    def of(cls, phrases: Iterable[str], gap: str = r"\s+", before: str = "") -> "Words":
        """
        Returns phrases that are written as shown above; longer ones are tried first.

        Args:
            phrases (`Iterable[str]`): For example `"conclusion|conclusions [of] [the] ECG"`.
            gap (`str`): Regular expression of what lies between two words.
            before (`str`): Regular expression of what may stand before the phrase and belongs to it.
        """
        split = sorted((phrase.split() for phrase in phrases), key=len, reverse=True)
        pattern = "|".join(_phrase_pattern(words, gap) for words in split)
        letters = {piece for words in split for piece in _needed_letters(words)}
        shortest = {one for one in letters if not any(other != one and other in one for other in letters)}
        return cls(re.compile(f"{before}(?:{pattern})"), tuple(sorted(shortest)))

    def find(self, plain: str) -> Iterator[re.Match[str]]:
        """Yields where the phrases stand in folded text."""
        if any(letters in plain for letters in self.letters):
            yield from self.pattern.finditer(plain)


def _phrase_pattern(words: list[str], gap: str) -> str:
    pattern, lead = "", ""  # an absent word takes the gap with it: before the first word that must be there, after it
    for word in words:
        forms = "|".join(_form_pattern(form) for form in word.strip("[]").split("|"))
        if not word.startswith("["):
            pattern += f"{lead}(?:{forms})"
            lead = gap
        elif lead:
            pattern += f"(?:{gap}(?:{forms}))?"
        else:
            pattern += f"(?:(?:{forms}){gap})?"
    return pattern


def _form_pattern(form: str) -> str:
    letters = re.escape(fold(form.strip("*"))).replace(r"\-", r"[\s-]*").replace("/", r"\s*/\s*")
    before = "" if form.startswith("*") or not form[0].isalnum() else r"(?<!\w)"
    after = r"\w*" if form.endswith("*") else r"(?!\w)" if form[-1].isalnum() else ""
    return before + letters + after


def _needed_letters(words: list[str]) -> list[str]:
    """Of the word of a phrase that says most, the longest piece of each form."""
    of_words = [
        [max(re.split("[-/]", fold(form.strip("*"))), key=len) for form in word.split("|")]
        for word in words
        if not word.startswith("[")
    ]
    return max(of_words, key=lambda pieces: min(map(len, pieces)))


__all__ = ["ENGLISH", "FINDINGS", "GERMAN", "LANGUAGES", "PORTUGUESE", "SPANISH", "Language", "Words"]
