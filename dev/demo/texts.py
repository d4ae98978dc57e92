"""The demo's inputs: first lines and famous lines of books in the public domain."""

from __future__ import annotations

#: (ISO 639 code, language, author, words)
LANGUAGES: list[tuple[str, str, str, str]] = [
    ("en", "English", "Dickens", "It was the best of times, it was the worst of times, it was the age of wisdom."),
    (
        "de",
        "German",
        "Kafka",
        "Jemand mußte Josef K. verleumdet haben, denn ohne daß er etwas Böses getan hätte, wurde er "
        "eines Morgens verhaftet.",
    ),
    ("fr", "French", "Proust", "Longtemps, je me suis couché de bonne heure."),
    (
        "es",
        "Spanish",
        "Cervantes",
        "En un lugar de la Mancha, de cuyo nombre no quiero acordarme, no ha mucho tiempo que vivía un hidalgo.",
    ),
    ("it", "Italian", "Dante", "Nel mezzo del cammin di nostra vita mi ritrovai per una selva oscura."),
    ("pt", "Portuguese", "Machado de Assis", "Ao vencido, ódio ou compaixão; ao vencedor, as batatas."),
    ("nl", "Dutch", "Multatuli", "Ik ben makelaar in koffie, en woon op de Lauriergracht."),
    (
        "sv",
        "Swedish",
        "Lagerlöf",
        "Det var en gång en pojke. Han var så där en fjorton år gammal, lång och ranglig och linhårig.",
    ),
    ("da", "Danish", "Andersen", "Der kom en soldat marcherende hen ad landevejen: én, to! én, to!"),
    (
        "fi",
        "Finnish",
        "Kalevala",
        "Mieleni minun tekevi, aivoni ajattelevi lähteäni laulamahan, saa'ani sanelemahan.",
    ),
    (
        "pl",
        "Polish",
        "Mickiewicz",
        "Litwo! Ojczyzno moja! Ty jesteś jak zdrowie; ile cię trzeba cenić, ten tylko się dowie.",
    ),
    ("cs", "Czech", "Čapek", "Roboti nejsou lidé. Jsou mechanicky dokonalejší než my, ale nemají duši."),
    ("hu", "Hungarian", "Petőfi", "Talpra magyar, hí a haza! Itt az idő, most vagy soha!"),
    ("ro", "Romanian", "Eminescu", "A fost odată ca-n povești, a fost ca niciodată, din rude mari împărătești."),
    (
        "ru",
        "Russian",
        "Tolstoy",
        "Все счастливые семьи похожи друг на друга, каждая несчастливая семья несчастлива по-своему.",
    ),
    (
        "uk",
        "Ukrainian",
        "Shevchenko",
        "Як умру, то поховайте мене на могилі, серед степу широкого, на Вкраїні милій.",
    ),
    ("el", "Greek", "Cavafy", "Σα βγεις στον πηγαιμό για την Ιθάκη, να εύχεσαι νάναι μακρύς ο δρόμος."),
    (
        "tr",
        "Turkish",
        "Yunus Emre",
        "Gelin tanış olalım, işi kolay kılalım, sevelim sevilelim, dünya kimseye kalmaz.",
    ),
    ("ar", "Arabic", "al-Mutanabbi", "الخيل والليل والبيداء تعرفني والسيف والرمح والقرطاس والقلم"),
    ("fa", "Persian", "Saadi", "بنی آدم اعضای یکدیگرند که در آفرینش ز یک گوهرند"),
    ("hi", "Hindi", "Kabir", "बुरा जो देखन मैं चला, बुरा न मिलिया कोय, जो दिल खोजा आपना, मुझसे बुरा न कोय।"),
    ("vi", "Vietnamese", "Nguyễn Du", "Trăm năm trong cõi người ta, chữ tài chữ mệnh khéo là ghét nhau."),
    ("ja", "Japanese", "Sōseki", "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。"),
    (
        "ko",
        "Korean",
        "Yun Dong-ju",
        "죽는 날까지 하늘을 우러러 한 점 부끄럼이 없기를, 잎새에 이는 바람에도 나는 괴로워했다.",
    ),
]

#: (expected label, author, words). The model gets one of them wrong, and the demo shows it.
SENTIMENTS: list[tuple[str, str, str]] = [
    ("positive", "Austen", "I am the happiest creature in the world. Perhaps other people have said so before."),
    ("positive", "Austen", "I declare after all there is no enjoyment like reading!"),
    ("positive", "Keats", "A thing of beauty is a joy for ever: its loveliness increases."),
    ("positive", "Browning", "How do I love thee? Let me count the ways."),
    (
        "positive",
        "Dickens",
        "He became as good a friend, as good a master, and as good a man, as the good old city knew.",
    ),
    ("negative", "Shelley", "I am malicious because I am miserable."),
    ("negative", "Poe", "Deep into that darkness peering, long I stood there wondering, fearing, doubting."),
    ("negative", "Shakespeare", "When sorrows come, they come not single spies, but in battalions."),
    ("negative", "Conrad", "The horror! The horror!"),
    ("neutral", "Melville", "I thought I would sail about a little and see the watery part of the world."),
]

#: (author, words)
KEYWORDS: list[tuple[str, str]] = [
    (
        "Lovelace",
        "The Analytical Engine has no pretensions whatever to originate anything. It can do whatever we know how "
        "to order it to perform. It can follow analysis; but it has no power of anticipating any analytical "
        "relations or truths. The Analytical Engine weaves algebraical patterns just as the Jacquard loom weaves "
        "flowers and leaves.",
    ),
    (
        "Darwin",
        "It is interesting to contemplate an entangled bank, clothed with many plants of many kinds, with birds "
        "singing on the bushes, with various insects flitting about, and with worms crawling through the damp "
        "earth, and to reflect that these elaborately constructed forms have all been produced by laws acting "
        "around us. From the war of nature, from famine and death, the production of the higher animals directly "
        "follows.",
    ),
    (
        "Verne",
        "La mer est tout ! Elle couvre les sept dixièmes du globe terrestre. Son souffle est pur et sain. C'est "
        "l'immense désert où l'homme n'est jamais seul, car il sent frémir la vie à ses côtés. La mer n'est que le "
        "véhicule d'une surnaturelle et prodigieuse existence ; elle n'est que mouvement et amour. La mer est le "
        "vaste réservoir de la nature.",
    ),
    (
        "Humboldt",
        "Die Natur ist für die denkende Betrachtung Einheit in der Vielheit, Verbindung des Mannigfaltigen in Form "
        "und Mischung, Inbegriff der Naturdinge und Naturkräfte, als ein lebendiges Ganze. Das wichtigste Resultat "
        "des sinnigen physischen Forschens ist daher dieses: in der Mannigfaltigkeit die Einheit zu erkennen.",
    ),
]

#: (author, words)
SUMMARIES: list[tuple[str, str]] = [
    (
        "Lincoln",
        "Four score and seven years ago our fathers brought forth on this continent, a new nation, conceived in "
        "Liberty, and dedicated to the proposition that all men are created equal. Now we are engaged in a great "
        "civil war, testing whether that nation, or any nation so conceived and so dedicated, can long endure. We "
        "are met on a great battle-field of that war. We have come to dedicate a portion of that field, as a final "
        "resting place for those who here gave their lives that that nation might live. It is altogether fitting "
        "and proper that we should do this.",
    ),
    (
        "Thoreau",
        "I went to the woods because I wished to live deliberately, to front only the essential facts of life, and "
        "see if I could not learn what it had to teach, and not, when I came to die, discover that I had not "
        "lived. I did not wish to live what was not life, living is so dear; nor did I wish to practise "
        "resignation, unless it was quite necessary. I wanted to live deep and suck out all the marrow of life.",
    ),
]
