"""
What Portuguese descriptions of ECGs say, as data: phrases by section and value, none of which names a diagnosis.

The simulator's conclusions, `data_scripts.simulate.conclusions`, share no word of meaning with them: a test says so.
`phrases_english` holds the same tables in English. Beside the values of the simulator's readers stand some that claim
no more than a program measures.
"""

LEADS = {"I": "DI", "II": "DII", "III": "DIII"}  # the others are written as in the standard
AND, RANGE = "{first} e {last}", "{first} a {last}"  # of leads

RATE = {
    "slow": (
        "Frequência cardíaca abaixo da faixa habitual",
        "FC abaixo da faixa habitual",
        "FC reduzida",
        "Frequência reduzida, com ciclos longos",
        "Frequência cardíaca abaixo do limite inferior de referência",
        "Batimentos espaçados, com frequência abaixo do esperado",
        "Frequência de batimentos menor que a habitual",
        "FC inferior ao esperado para a idade",
        "Ciclos RR longos",
    ),
    "usual": (
        "Frequência cardíaca dentro da faixa habitual",
        "FC dentro da faixa habitual",
        "FC normal",
        "Frequência cardíaca normal",
        "Frequência cardíaca na faixa de referência",
        "Frequência de batimentos habitual",
        "FC adequada para a idade",
    ),
    "fast": (
        "Frequência cardíaca acima da faixa habitual",
        "FC acima da faixa habitual",
        "FC elevada",
        "Frequência elevada, com ciclos curtos",
        "Frequência cardíaca acima do limite superior de referência",
        "Batimentos próximos entre si, com frequência acima do esperado",
        "Frequência de batimentos maior que a habitual",
        "FC superior ao esperado para a idade",
        "Ciclos RR curtos",
    ),
}
RATE_WITH_NUMBER = {
    "slow": ("FC {rate} bpm, abaixo da faixa habitual", "Frequência cardíaca: {rate} bpm (reduzida)"),
    "usual": ("FC {rate} bpm", "Frequência cardíaca: {rate} bpm (habitual)"),
    "fast": ("FC {rate} bpm, acima da faixa habitual", "Frequência cardíaca: {rate} bpm (elevada)"),
}

_REGULAR = ("Intervalos RR regulares", "Ciclos RR regulares", "Espaços RR constantes")
CYCLES = {
    "regular": (*_REGULAR, "Onda P precedendo cada QRS, com intervalos RR regulares"),
    "even": _REGULAR,
    "varying": (
        "Discreta variação dos ciclos RR",
        "Espaços RR com discreta variação",
        "Intervalos RR discretamente variáveis",
    ),
    "uneven": ("Intervalos RR irregulares", "Ciclos RR irregulares", "RR irregular"),
    "breathing": (
        "Intervalos RR variando com a respiração",
        "Discreta variação dos ciclos RR",
        "Espaços RR com variação fásica",
    ),
    "irregular": (
        "Intervalos RR irregulares",
        "Ciclos RR irregulares",
        "Espaços RR variáveis, sem padrão",
        "Intervalos RR totalmente irregulares",
        "RR irregular",
    ),
    "grouped": (
        "Batimentos em grupos, separados por pausas",
        "Ciclos RR encurtando até uma pausa",
        "Intervalos RR que se repetem em grupos",
    ),
    "paired": ("Ciclos RR curtos e longos alternados", "Batimentos aos pares", "Intervalos RR em pares"),
    "stepped": ("Intervalos RR múltiplos entre si", "Ciclos RR variando em degraus", "Intervalos RR regulares"),
}
EARLY_BEATS = {
    "ventricular": (
        "Batimentos prematuros com QRS largo",
        "Complexos antecipados e alargados, sem onda P",
        "Batimentos antecipados de QRS largo seguidos de pausa",
    ),
    "supraventricular": (
        "Batimentos prematuros com QRS estreito",
        "Complexos antecipados de morfologia habitual",
        "Batimentos antecipados precedidos de onda P distinta",
    ),
    "every_second": (
        "Um batimento prematuro de QRS largo após cada batimento habitual",
        "Complexos alargados e antecipados alternando com os habituais",
    ),
    "every_third": (
        "Um batimento prematuro de QRS largo a cada dois habituais",
        "Complexos alargados e antecipados a cada terceiro batimento",
    ),
    "wide": ("Batimentos prematuros com QRS largo", "Complexos antecipados e alargados"),
    "narrow": ("Batimentos prematuros com QRS estreito", "Complexos antecipados de morfologia habitual"),
}
SPIKES = ("Espículas precedendo os complexos QRS", "Espícula estreita antes de cada QRS")

AXIS = {
    "normal": ("Eixo do QRS normal", "Eixo elétrico normal", "SÂQRS normal", "Eixo do QRS dentro dos limites"),
    "left": ("Desvio do eixo do QRS para a esquerda", "Eixo do QRS desviado para a esquerda", "SÂQRS para a esquerda"),
    "left_up": (
        "Desvio do eixo do QRS para a esquerda e para cima",
        "Eixo do QRS à esquerda e para cima",
        "SÂQRS além de -45 graus",
    ),
    "right": ("Desvio do eixo do QRS para a direita", "Eixo do QRS desviado para a direita", "SÂQRS para a direita"),
    "right_up": ("Desvio do eixo do QRS para a direita e para cima", "Eixo do QRS indeterminado"),
}

P_TITLES = ("Onda P", "P", "Ondas P")
P = {
    "usual": (
        "amplitude e duração normais",
        "normal",
        "morfologia, amplitude e duração normais",
        "sem particularidades de forma",
        "duração e amplitude dentro dos limites",
    ),
    "none": (
        "ausente, com ondulações irregulares da linha de base",
        "não identificada; linha de base com oscilações finas",
        "ausente",
        "ausente, substituída por ondas f",
        "não visualizada, linha de base ondulada",
    ),
    "saw": (
        "substituída por ondulações em dente de serra",
        "ausente, com ondas em serrote em DII, DIII e aVF",
        "ausente; ondulações regulares da linha de base",
    ),
    "unclear": ("de morfologia variável", "mal definida", "difícil identificação"),
    "absent": ("não identificada antes do QRS", "ausente antes do QRS"),
    "negative": ("negativa em DII", "com polaridade negativa em DII"),
    "behind": ("negativa em DII, inscrita depois do QRS", "logo após o QRS, com polaridade negativa em DII"),
    "long": ("duração aumentada", "duração acima de 120 ms"),
    "long_v1": (
        "duração aumentada, com porção final negativa em V1",
        "entalhada em DII, com fase negativa ampla em V1",
    ),
    "dropped": ("algumas não seguidas de QRS", "nem todas seguidas de QRS"),
    "every_other": ("uma em cada duas seguida de QRS", "duas para cada QRS"),
    "unrelated": ("sem relação com os complexos QRS", "independentes dos QRS, com ciclos próprios"),
    "tall": ("amplitude aumentada em DII", "amplitude maior que 2,5 mm em DII"),
}

PR_TITLES = ("PRI", "PR", "iPR", "Intervalo PR", "PRi", "Intervalo PRI")
_LONG_PR = (
    "duração aumentada",
    "aumentado",
    "acima de 200 ms",
    "maior que 0,20 s",
    "alongado",
    "duração acima do limite",
)
PR = {
    "usual": ("duração normal", "normal", "dentro dos limites", "duração dentro do esperado"),
    "long": (*_LONG_PR, "aumentado, fixo"),
    "above": _LONG_PR,
    "growing": (
        "aumentando de um batimento ao outro até uma P sem QRS",
        "progressivamente maior até uma P não seguida de QRS",
    ),
    "short": ("curto", "no limite inferior", "duração reduzida"),
    "none": ("não mensurável", "prejudicado", "não se aplica", "não medido"),
}

QRS_TITLES = ("QRS", "Complexo QRS", "Complexos QRS")
QRS = {
    "usual": (
        "eixo e amplitudes normais",
        "duração, eixo e amplitudes normais",
        "duração e morfologia normais",
        "estreito, de morfologia normal",
        "normal",
        "duração normal e boa progressão de R nas precordiais",
    ),
    "narrow": ("duração normal", "estreito", "duração dentro dos limites", "sem alargamento"),
    "borderline": ("duração limítrofe", "duração no limite superior", "discretamente alargado"),
    "rbbb": (
        "duração aumentada e RSR em V1 e onda S empastada nas derivações à esquerda",
        "alargado, com rSR' em V1 e S larga em DI e V6",
        "duração aumentada, rsR' em V1 e V2 e S alargada em DI, V5 e V6",
        "alargado, R' tardia em V1 e S profunda e lenta em DI, aVL e V6",
        "duração acima de 120 ms, com R final espessada em V1 e S empastada em V6",
        "duração aumentada com forma de M em V1",
    ),
    "lbbb": (
        "duração aumentada, R alargada e entalhada em DI, aVL, V5 e V6, sem onda q",
        "alargado, com R em torre em V6 e rS profundo em V1",
        "duração aumentada, QS em V1 e R monofásica e empastada nas derivações à esquerda",
        "alargado, sem q em DI e V6, R com entalhe no ápice",
        "duração acima de 120 ms, com rS em V1 a V3 e R larga e entalhada em V5 e V6",
        "duração aumentada com ausência de q e R empastada em DI, aVL e V6",
    ),
    "incomplete_rbbb": (
        "duração limítrofe com rSr' em V1",
        "padrão rSr' em V1, com duração normal",
        "pequena r' final em V1 e V2",
    ),
    "incomplete_lbbb": (
        "duração limítrofe, sem q em DI e V6",
        "espessamento inicial do R em V5 e V6, com duração limítrofe",
        "ausência de q em V6, com duração no limite superior",
    ),
    "delay": (
        "duração discretamente aumentada, sem morfologia definida",
        "alargado, com entalhes em várias derivações",
        "discretamente alargado, morfologia inalterada",
    ),
    "wide": ("duração aumentada", "alargado", "duração de 120 ms ou mais"),
}
QRS_DETAILS = {
    "rsr": ("rSR' em {leads}", "padrão rSR' em {leads}", "R' tardia em {leads}"),
    "large_r": ("R maior que S em {leads}", "R dominante em {leads}"),
    "broad_s": ("S larga em {leads}", "onda S empastada em {leads}"),
    "notched_r": ("R alargada e entalhada em {leads}", "R larga, com entalhe, em {leads}"),
    "no_q": ("sem q em {leads}", "ausência de q em {leads}"),
    "q": ("ondas Q largas em {leads}", "Q de duração aumentada em {leads}"),
    "slow_start": ("início lento do QRS", "empastamento inicial do QRS"),
    "small_r": ("R pequena de V1 a V3", "pouca progressão de R de V1 a V3"),
}
VOLTAGE = {
    "high": (
        "amplitudes aumentadas nas precordiais",
        "ondas R amplas em V5 e V6 e S profundas em V1 e V2",
        "índice de Sokolow aumentado",
    ),
    "sokolow": ("índice de Sokolow aumentado", "soma de S em V1 e R em V5 ou V6 aumentada"),
    "low": ("amplitudes reduzidas no plano frontal", "amplitude menor que 5 mm nas periféricas"),
}
FASCICLE = ("rS em DII, DIII e aVF", "S em DIII maior que em DII", "qR em aVL e rS nas inferiores")

ST_TITLES = ("ST e onda T", "ST e T", "ST-T", "Segmento ST e onda T", "ST/T")
ST = {
    "normal": ("normais", "sem desvios", "dentro dos limites", "isoelétrico e T assimétrica", "morfologia normal"),
    "opposed": (
        "opostos à deflexão principal do QRS",
        "desvios secundários ao QRS largo",
        "T oposta à porção final do QRS",
        "modificações secundárias",
    ),
    "flat_t": ("T achatada em várias derivações", "ondas T de amplitude reduzida", "achatamento de T nas laterais"),
    "inverted_t": ("T negativa em DI, aVL, V5 e V6", "T invertida nas laterais", "ondas T negativas de V4 a V6"),
    "strain": (
        "infradesnível de ST e T invertida assimétrica em V5 e V6",
        "ST descendente com T negativa nas laterais",
        "depressão de ST em DI, aVL e V6 com T invertida",
    ),
    "early": (
        "elevação do ponto J nas precordiais",
        "supradesnível côncavo de ST em V2 a V5",
        "ST com concavidade superior e T ampla",
    ),
    "level": ("normais", "sem desvios", "dentro dos limites"),
}
ST_DETAILS = {
    "st_up": ("supradesnível de ST em {leads}", "ST elevado em {leads}"),
    "st_down": ("infradesnível de ST em {leads}", "depressão de ST em {leads}"),
    "t_negative": ("T negativa em {leads}", "ondas T invertidas em {leads}"),
    "t_flat": ("T achatada em {leads}", "ondas T de amplitude reduzida em {leads}"),
    "t_tall": ("T alta e pontiaguda em {leads}", "ondas T amplas e simétricas em {leads}"),
    "u_wave": ("onda U proeminente em {leads}", "U visível após a T em {leads}"),
    "pr_down": ("segmento PR abaixo da linha de base em {leads}", "infradesnível de PR em {leads}"),
    "t_opposed": ("T oposta à deflexão principal do QRS em {leads}", "T de sinal contrário ao QRS em {leads}"),
}

QTC_TITLES = ("QTC", "QTc", "Intervalo QTc", "QT corrigido", "QTC (Bazett)")
QTC = {
    "usual": ("normal", "duração normal", "dentro dos limites"),
    "long": ("aumentado", "duração aumentada", "acima do limite"),
    "none": ("prejudicado", "não avaliado"),
}
