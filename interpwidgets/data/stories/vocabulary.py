"""Every token that the stories are made of, in the order of their ids.

    from interpwidgets.data.stories.vocabulary import VOCABULARY

    VOCABULARY[:4]                  # ("<s>", "<unk>", " (", ")")
    VOCABULARY.index(" Mary")       # a word carries the space in front of it

The list is written down, not gathered from the stories, because trained models depend on its order: a word is added at
its end, and none is taken away, unless the models are trained again.
"""

_MARKS = (" (", ")", ",", ".", ":", "?")
_LETTERS = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")  # of acronyms: no space in front
_YEARS = tuple(f"{year:02d}" for year in range(100))  # the second half of a year
_CENTURIES = tuple(f" {century}" for century in range(11, 20))
_WORDS = """
A a about Adam advice afraid After after afternoon again against Agency Agra Alice All all along anchor Ancient and
angry Ankara Anna applause April Arabic are argued Arica arrived asleep Aswan at ate Athens Atlantic attic August
Austria avocados away awful B back baker ball Bank bank basket bathroom be beach beans bear beautifully because bed
beets began behind Beijing believed bells belt bench Berlin beside best big bird birds bitterly black blanket
bloomed blue boat boats book books boring both bottle bowl box boxes boy Braga brave Brazil bread breakfast bridge
Bright brilliant British broke broken brought brown bucket buried Bursa Busan busy but buttons by C cabbage Cairo
cake calm came camel camera Canada Cancun candle captain car carried cars castle cat cats celebrated cellar Central
chair chairs charming cheese child children Chile chimney China Chinese chocolate church circles city Clara clever
clock clockmaker clocks closed cloud Club coal Coastal coat coin cold collected colour comes compass concert
continued cook could counted cover cow cows cried crow crown crumbs cry cup cups curry cursed D Daegu Daily Dairy
danced dark dates David day days Dear December Delhi delightful desert dessert diary did Digital disliked doctor
doctors dog dogs donkey door doors down dragon dreadful dreamed drink drought drove drum dry dull dumplings E early
Eastern eat Egypt eight eighteen Electric elegant eleven Ella Emma empty end ending English enjoyed Eva evening
Every everybody Expedition expedition F false family famine farm farmer farmers fast feathers February fed Federal
Felix fell festival fifteen figs film fire first fish Five five flew floor flower fog foggy followed for Foreign
found Four four fourteen fox France Frank French Friday friend friends from full Fund G garden gardener gave Gdansk
gentle German Germany ghost giant Global gloomy goat gold gone good goose Grace Grand Graz Greece Greek green grown
grumpy guide Guild guitar H hair half Halifax hall Hamburg hammock handed Happy happy harbor hard has hat hated have
He he heaviest heavy held Helen Henry her hermit hero herring Hindi his Historic home hoped horrible horse hospital
hot hotel House huge Hugo hungry I Imperial In in India ink Institute interest into is Island Istanbul It it Italian
Italy J Jack jacket Jaipur James Jane January Japan Japanese John Joint Julia July jumped June Junior Jury K Kate
Kazan kebabs key keys Kind king Kitchen kitchen kite knew knight Korea Korean Krakow Kyoto L ladder lamp lantern
Last last lasted late laughed Laura law lazy League left lend Leo letter letters Liberal library lied light
lighthouse like Lily Linz Lisbon little lives Local lonely long longer looked lost loud loudest loudly love loved
lovely Lucy Luke lullaby Luxor Lyon M Madrid Malmo mangos map March Marine market Martin Mary mat Max May me meal
Merida mermaid met Mexico midnight Milan mirror Modern Monday money monkey month months moon morning Moscow moss
mother mountain moved Munich museum music my N name Natal National near necklace needles neighbor neighbors nervous
Network Never never new newspaper next Nice night Nina nine nineteen no Nobody noodles Northern nothing November Now
O Ocean October of off offered office old oldest olives Omsk On on Once One one only Open open opposite Orchestra
Osaka Oscar others Ottawa over owl P Pacific paid pancakes Paris park Party passed pasta Patras Paul pen People
people perfect petals Peter piano picked pickles picture pictures pig pillow pink pirate plague play Please plot
pockets poems poet Poland Polish polite poor Porto Portugal Portuguese praised prayed pretty professor project
promise proud Public Puebla pulled pushed Q Quartet queen questions Quick Quiet quiet R Railway rain rainy ran read
Recife red reign restaurant rice rich riddles ring river robot Rome roof room rope Rosa rose roses Royal Rural
Russia Russian Ruth S sad said sailed sailor sale salt salty Salvador Sam sand sandwich sang Santiago Sarah sardines
sat Saturday sausages saw say scarf school sea seasick seat secret sell send sent Seoul September serious seven
seventeen Seville shadows Shanghai shared She she shelf ships shoes short shouted show showed shy siege silent Simon
Since singer singing Six six sixteen slept slow small smallest smiled snail snake So so Social Society socks Sofia
soft softly sold soldier soldiers Some some Somebody Soon sorry soup Southern Spain Spanish speak speaks spilled
splinters spoons spots stable stale stamps stars station stayed steep still Stockholm stole stopped store stories
storms strange strangest straw street strike strong Sunday sunny superb surprised Sweden Swedish sweetly sword swore
T table tables tailor talked tea teacher teachers teapots Technical Temuco ten terrible thanked That that The the
Theater theater Then then There there They they thief thirteen thought Three three Thursday ticket time tiny tired
title to Tokyo told Tom too took Toronto tour tower town traded train tree trees trial tried Tropical true trust
Tuesday Turin Turkey Turkish turned twelve twenty Two two U umbrella under Union United until up Uppsala Urban V
Valencia Valley very Victor Vienna view Village violin Vital Volos voted W waited waiter walked wanted war warm
Warsaw was water wax way we weak Wednesday week well went were Western wet whale What When While whispered whistled
white Who who wide wig will wind window windows windy winter witch with wonderful woolen wore Workshop World worth
write writing wrote Wuhan X Y year Yellow yellow Yesterday you Young young Your your Z Zoo zoo
"""
VOCABULARY: tuple[str, ...] = (
    "<s>", "<unk>", *_MARKS, *_LETTERS, *_YEARS, *_CENTURIES, *(f" {word}" for word in _WORDS.split())
)  # fmt: skip
