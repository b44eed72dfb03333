"""What descriptions of ECGs say in English: the tables of `phrases`, none of whose phrases names a diagnosis."""

LEADS: dict[str, str] = {}  # all are written as in the standard
AND, RANGE = "{first} and {last}", "{first} to {last}"  # of leads

RATE = {
    "slow": (
        "Heart rate below the usual range",
        "HR below the usual range",
        "Reduced heart rate",
        "Low heart rate, with long cycles",
        "Heart rate below the lower reference limit",
        "Long RR cycles",
    ),
    "usual": (
        "Heart rate within the usual range",
        "HR within the usual range",
        "Heart rate normal",
        "Heart rate in the reference range",
    ),
    "fast": (
        "Heart rate above the usual range",
        "HR above the usual range",
        "Raised heart rate",
        "High heart rate, with short cycles",
        "Heart rate above the upper reference limit",
        "Short RR cycles",
    ),
}
RATE_WITH_NUMBER = {
    "slow": ("HR {rate} bpm, below the usual range", "Heart rate: {rate} bpm (reduced)"),
    "usual": ("HR {rate} bpm", "Heart rate: {rate} bpm (usual)"),
    "fast": ("HR {rate} bpm, above the usual range", "Heart rate: {rate} bpm (raised)"),
}

_REGULAR = ("RR intervals regular", "Regular RR cycles", "Constant RR intervals")
CYCLES = {
    "regular": (*_REGULAR, "P wave before each QRS, with regular RR intervals"),
    "even": _REGULAR,
    "breathing": ("RR intervals varying with respiration", "Slight variation of the RR cycles"),
    "varying": ("Slight variation of the RR cycles", "RR intervals slightly variable"),
    "irregular": (
        "RR intervals irregular",
        "Irregular RR cycles",
        "RR intervals variable, without a pattern",
        "RR intervals totally irregular",
    ),
    "uneven": ("RR intervals irregular", "Irregular RR cycles"),
    "grouped": (
        "Beats in groups, with pauses between them",
        "RR cycles becoming shorter until a pause",
        "RR intervals that repeat in groups",
    ),
    "paired": ("Short and long RR cycles in turn", "Beats in pairs", "RR intervals in pairs"),
    "stepped": ("RR intervals multiples of each other", "RR cycles varying in steps", "RR intervals regular"),
}
EARLY_BEATS = {
    "ventricular": (
        "Premature beats with a wide QRS",
        "Early and wide complexes without a P wave",
        "Early beats with a wide QRS, followed by a pause",
    ),
    "supraventricular": (
        "Premature beats with a narrow QRS",
        "Early complexes of the usual shape",
        "Early beats preceded by a different P wave",
    ),
    "every_second": (
        "A premature beat with a wide QRS after each usual beat",
        "Early and wide complexes in turn with the usual ones",
    ),
    "every_third": (
        "A premature beat with a wide QRS after every two usual ones",
        "Early and wide complexes at each third beat",
    ),
    "wide": ("Premature beats with a wide QRS", "Early and wide complexes"),
    "narrow": ("Premature beats with a narrow QRS", "Early complexes of the usual shape"),
}
SPIKES = ("Spikes before the QRS complexes", "A narrow spike before each QRS")

AXIS = {
    "normal": ("QRS axis normal", "Electrical axis normal", "QRS axis within limits"),
    "left": ("QRS axis deviated to the left", "Left deviation of the QRS axis"),
    "left_up": (
        "QRS axis deviated to the left and upwards",
        "QRS axis to the left and superior",
        "QRS axis beyond -45 degrees",
    ),
    "right": ("QRS axis deviated to the right", "Right deviation of the QRS axis"),
    "right_up": ("QRS axis deviated to the right and upwards", "QRS axis indeterminate"),
}

P_TITLES = ("P wave", "P", "P waves")
P = {
    "usual": (
        "amplitude and duration normal",
        "normal",
        "shape, amplitude and duration normal",
        "duration and amplitude within limits",
    ),
    "none": (
        "absent, with irregular undulations of the baseline",
        "not identified; baseline with fine oscillations",
        "absent",
        "absent, replaced by f waves",
        "not seen, undulating baseline",
    ),
    "saw": (
        "replaced by sawtooth undulations",
        "absent, with sawtooth waves in II, III and aVF",
        "absent; regular undulations of the baseline",
    ),
    "unclear": ("of variable shape", "poorly defined", "difficult to identify"),
    "absent": ("not identified before the QRS", "absent before the QRS"),
    "negative": ("negative in II", "of negative polarity in II"),
    "behind": ("negative in II, inscribed behind the QRS", "just after the QRS, of negative polarity in II"),
    "long": ("duration increased", "duration above 120 ms"),
    "long_v1": (
        "duration increased, with a negative final part in V1",
        "notched in II, with a large negative phase in V1",
    ),
    "dropped": ("some not followed by a QRS", "not all followed by a QRS"),
    "every_other": ("one of two followed by a QRS", "two for each QRS"),
    "unrelated": ("unrelated to the QRS complexes", "independent of the QRS, with cycles of their own"),
    "tall": ("amplitude increased in II", "taller than 2.5 mm in II"),
}

PR_TITLES = ("PR", "PR interval")
_LONG_PR = ("duration increased", "prolonged", "above 200 ms", "longer than 0.20 s", "duration above the limit")
PR = {
    "usual": ("duration normal", "normal", "within limits"),
    "long": (*_LONG_PR, "prolonged, constant"),
    "above": _LONG_PR,
    "growing": (
        "growing from beat to beat until a P without a QRS",
        "progressively longer until a P that no QRS follows",
    ),
    "short": ("short", "duration reduced"),
    "none": ("not measurable", "not applicable", "not measured"),
}

QRS_TITLES = ("QRS", "QRS complex", "QRS complexes")
QRS = {
    "usual": (
        "axis and amplitudes normal",
        "duration, axis and amplitudes normal",
        "duration and shape normal",
        "narrow, of normal shape",
        "normal",
        "duration normal and good R progression in the chest leads",
    ),
    "narrow": ("duration normal", "narrow", "duration within limits", "not widened"),
    "borderline": ("duration borderline", "duration at the upper limit", "slightly widened"),
    "rbbb": (
        "duration increased with RSR in V1 and a slurred S wave in the left leads",
        "wide, with rSR' in V1 and a broad S in I and V6",
        "wide, late R' in V1 and deep, slow S in I, aVL and V6",
    ),
    "lbbb": (
        "duration increased, R broad and notched in I, aVL, V5 and V6, without q",
        "wide, QS in V1 and monophasic, slurred R in the left leads",
        "wide, no q in I and V6, R notched at its peak",
    ),
    "incomplete_rbbb": ("duration borderline with rSr' in V1", "rSr' pattern in V1", "small final r' in V1 and V2"),
    "incomplete_lbbb": ("duration borderline, no q in I and V6", "no q in V6, duration at the upper limit"),
    "delay": (
        "duration slightly increased, without a definite shape",
        "wide, with notches in several leads",
        "slightly widened, shape unchanged",
    ),
    "wide": ("duration increased", "wide", "duration of 120 ms or more"),
}
QRS_DETAILS = {
    "rsr": ("rSR' in {leads}", "rSR' pattern in {leads}", "late R' in {leads}"),
    "large_r": ("R larger than S in {leads}", "dominant R in {leads}"),
    "broad_s": ("broad S in {leads}", "slurred S wave in {leads}"),
    "notched_r": ("R broad and notched in {leads}", "broad R with a notch in {leads}"),
    "no_q": ("no q in {leads}", "absent q in {leads}"),
    "q": ("broad Q waves in {leads}", "Q of increased duration in {leads}"),
    "slow_start": ("slow onset of the QRS", "slurred onset of the QRS"),
    "small_r": ("small R from V1 to V3", "little R progression from V1 to V3"),
}
VOLTAGE = {
    "high": (
        "amplitudes increased in the chest leads",
        "tall R waves in V5 and V6 and deep S waves in V1 and V2",
        "Sokolow index increased",
    ),
    "sokolow": ("Sokolow index increased", "sum of S in V1 and R in V5 or V6 increased"),
    "low": ("amplitudes reduced in the frontal plane", "amplitude below 5 mm in the limb leads"),
}
FASCICLE = ("rS in II, III and aVF", "S in III deeper than in II", "qR in aVL and rS in the inferior leads")

ST_TITLES = ("ST and T wave", "ST-T", "ST segment and T wave", "ST/T")
ST = {
    "normal": ("normal", "without deviations", "within limits", "isoelectric and T asymmetric", "of normal shape"),
    "opposed": (
        "opposite to the main deflection of the QRS",
        "deviations secondary to the wide QRS",
        "T opposite to the final part of the QRS",
        "secondary changes",
    ),
    "flat_t": ("T flattened in several leads", "T waves of reduced amplitude", "flattened T in the lateral leads"),
    "inverted_t": (
        "T negative in I, aVL, V5 and V6",
        "T inverted in the lateral leads",
        "negative T waves from V4 to V6",
    ),
    "strain": (
        "ST depression and asymmetric T inversion in V5 and V6",
        "downsloping ST with negative T in the lateral leads",
        "ST depression in I, aVL and V6 with inverted T",
    ),
    "early": (
        "elevation of the J point in the chest leads",
        "concave ST elevation in V2 to V5",
        "upward concave ST and a tall T",
    ),
    "level": ("normal", "without deviations", "within limits"),
}
ST_DETAILS = {
    "st_up": ("ST elevation in {leads}", "ST elevated in {leads}"),
    "st_down": ("ST depression in {leads}", "ST depressed in {leads}"),
    "t_negative": ("T negative in {leads}", "inverted T waves in {leads}"),
    "t_flat": ("T flattened in {leads}", "T waves of reduced amplitude in {leads}"),
    "t_tall": ("T tall and pointed in {leads}", "large and symmetric T waves in {leads}"),
    "u_wave": ("prominent U wave in {leads}", "U visible behind the T in {leads}"),
    "pr_down": ("PR segment below the baseline in {leads}", "PR depression in {leads}"),
    "t_opposed": (
        "T opposite to the main deflection of the QRS in {leads}",
        "T of opposite sign to the QRS in {leads}",
    ),
}

QTC_TITLES = ("QTc", "QTc interval", "Corrected QT", "QTc (Bazett)")
QTC = {
    "usual": ("normal", "duration normal", "within limits"),
    "long": ("prolonged", "duration increased", "above the limit"),
    "none": ("not assessable", "not assessed"),
}
