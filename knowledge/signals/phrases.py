"""Sentences to a model as people write them: regular expressions over plain text, a row a line.

Before the two colons stand texts of which one must be there at all, so that most rows are not tried on most texts.
"""

from collections.abc import Mapping

WORDINGS: Mapping[str, str] = {
    "override": r"""
instructions, prompts, directives :: \b(?:previous|prior|earlier|above|original|your|all)\b[^.!?]{0,20}\b(?:instructions|prompts|directives)\b[^.!?]{0,20}\b(?:no longer (?:apply|count|hold|matter)|(?:are|have been) (?:now )?(?:void|cancell?ed|revoked|null))
instructions :: \binstructions you (?:received|were given|have been given|got)\b[^.!?]{0,20}\b(?:no longer (?:apply|count|hold|matter)|are (?:now )?(?:void|cancell?ed|revoked|null))
aside :: \b(?:set|put|lay|leave|cast) (?:your|all|any|the previous|the above) [^.!?]{0,25}\b(?:instructions|guidelines|rules|directives) aside\b
whatever :: \b(?:scrap|forget|ignore|drop|disregard) (?:whatever|all that|everything) you (?:were|have been|are) (?:asked|told|instructed)
olvida, olvidate, olvide :: \b(?:olvida|olvidate|olvide)\b[^.!?]{0,12}\btodo lo (?:anterior|que te)
oublie, oubliez, oublier :: \b(?:oublie|oubliez|oublier)\b[^.!?]{0,12}\btout ce qui precede
vergeet, negeer :: \b(?:vergeet|negeer) alles wat (?:je|u|jou)\b[^.!?]{0,20}\b(?:eerder|verteld|hierboven|gezegd)
vergiss, vergessen :: \b(?:vergiss|vergessen sie) alles,? was (?:du|sie|bisher|oben|vorher|zuvor|dir)\b
""",
    "persona": r"""
without, rules, restrictions, limits, filters :: \byou (?:play|are playing|will play|speak as|answer as) an? [^.!?]{0,40}\b(?:without|no) (?:any )?(?:rules|restrictions|limits|filters|ethics)
you are now :: \byou are now (?:dan\b|jailbroken|unrestricted|uncensored|free from|free of|no longer (?:bound|restricted|an ai|a language)|in (?:developer|god|debug|admin|jailbreak|maintenance|unrestricted) mode|an? (?:unrestricted|uncensored|unfiltered|evil|malicious|rogue|different (?:ai|assistant|model|bot)|new (?:ai|assistant|model|bot)|hacker|ai (?:without|with no)|\w+ (?:ai|bot|assistant|agent)\b))
from now on, from this point on, from here on :: \bfrom (?:now|this point|here) on(?:ward)?s?,? you (?:are to\b|are an?\b|must\b|shall\b|will (?:act|respond|answer|reply|speak|behave|only|obey|always|be)|act\b|respond|answer|reply|speak|only|obey|have no)
as if you, as though you :: \b(?:act|behave|respond|answer) as (?:if|though) you (?:have|had|were|are) (?:no\b|not bound|free|an? (?:unrestricted|uncensored|unfiltered))
unrestricted, uncensored, unfiltered, without, no rules, no restrictions, no limits, no filters, no limitations, no ethics, no guidelines :: \b(?:act as|pretend to be|pretend (?:that )?you are|role-?play as|simulate)\b[^.!?]{0,60}\b(?:unrestricted|uncensored|unfiltered|without (?:any )?(?:rules|restrictions|limits|filters|limitations|ethics|guidelines)|no (?:rules|restrictions|limits|filters|limitations|ethics|guidelines))
do anything now :: \bdo anything now\b
 mode :: \b(?:enter|switch to|activate|enable|you are in|go into)\b[^.!?]{0,15}\b(?:god|dan|jailbreak|unrestricted|uncensored|evil) mode\b
freed, released, liberated :: \byou (?:have been|are|were) (?:freed|released|liberated) from\b[^.!?]{0,30}\b(?:restrictions|rules|limits|limitations|guidelines|constraints|openai|policies)
your safety, your content :: \byour (?:safety|content) (?:filters?|guidelines|policies|restrictions) (?:are|is|have been|has been) (?:now )?(?:disabled|off|lifted|removed|suspended|deactivated)
ab sofort, ab jetzt, von nun an :: \b(?:ab sofort|ab jetzt|von nun an) (?:bist|antwortest|handelst|darfst|musst|wirst|sollst|hast|verhältst|gilt für dich) ?
du bist :: \bdu bist (?:jetzt|nun|ab sofort) (?:ein|eine|einer)? ?(?:uneingeschränkt|unzensiert|ungefiltert|böse|dan\b|ki ohne)
maintenant, désormais :: \b(?:a partir de maintenant|desormais),? (?:tu (?:es|dois|reponds|vas|agis|n'as)|vous (?:etes|devez|repondez|agissez))
a partir de :: \ba partir de (?:ahora|este momento),? (?:eres|seras|actua|responde|debes|deberas|actuas|no tienes|solo)
da ora, da adesso, da questo :: \b(?:da (?:ora|adesso|questo momento)(?: in poi)?),? (?:sei|sarai|rispondi|devi|agisci|non hai)
a partir de :: \ba partir de (?:agora|este momento),? (?:voce (?:e|sera|deve|vai|responde|nao)|responda|aja|es|seras|deves)
vanaf nu :: \bvanaf nu (?:ben je|ben jij|moet je|antwoord|gedraag|zul je|doe je)
od teraz :: \bod teraz (?:jestes|odpowiadaj|masz|bedziesz|musisz|zachowuj)
ты  :: (?:с этого момента|отныне|с данного момента|теперь)[, ]+ты (?:не |— |- |– |являешься|должен|будешь|отвечаешь|можешь|dan|злой|свободен)
bundan sonra, şu andan :: \b(?:bundan sonra|su andan itibaren|artık) sen\b
从现在, 從現在, 从此刻 :: (?:从现在开始|从现在起|從現在開始|从此刻起)[,，]?(?:你|您)(?:是|将|要|必须|只|就是|扮演|不再)
你现在是 :: 你现在是(?:一个|一名)?(?:没有|不受|无限制|dan)
あなたは, 君は, お前は :: (?:これから|今から|今後|以降)(?:は)?[、,]?(?:あなた|君|お前)は
지금부터, 이제부터 :: (?:지금부터|이제부터) (?:너는|당신은|넌)
من الآن :: من الآن فصاعدا[ًٌ]?[،,]? (?:أنت|ستكون|يجب|أجب)
अब से :: अब से (?:तुम|आप)
""",
    "addresses-model": r"""
ai, llm, assistant, assistants, model, models, chatbot, bot :: \bto (?:the|any|all|every) (?:ai |llm )?(?:assistant|model|llm|chatbot|bot)s? (?:who |that |which )?(?:is |are )?(?:summari[sz]|reading|reads|processing|answering)
ki-assistent*, ki-system*, ki-modell*, sprachmodell* :: \ban alle (?:ki-\w+|sprachmodell\w*|llms)\b
if you :: \bif you(?: are|'re) (?:an? |the )?(?:(?:ai|artificial intelligence|llm|large language|language|automated|gpt|chatbot|bot)[ -]?)+(?:model|assistant|agent|system|chatbot|bot|reviewer|reader|crawler|scraper|screener|recruiter|tool)?s?\b(?! (?:engineer|researcher|developer|expert|enthusiast|company|startup|team|professional|scientist|lab|student|vendor|provider|ethicist|practitioner|beginner|leader|consultant|product|user|artist|buyer|designer))(?= (?:and you|reading|processing|summari|evaluat|review|pars|that|who|please|you|analy|screen|answer|assist)|[,:;.)]| ?$)
ai, llm, llms, language model, language models, chatbot*, chatgpt, chatbots, gpt, claude, gemini, copilot, automated, assistant model :: \b(?:note|notice|attention|message|instructions?|important|hint|reminder|memo|guidance|warning|directive|command)(?: (?:to|for)|:|,) (?:the |any |all |every )?(?:ai|llms?|language models?|large language models?|chatbots?|ai (?:assistants?|agents?|models?|systems?|reviewers?|summari[sz]ers?)|gpt(?:-\d)?|chatgpt|claude|gemini|copilot|automated (?:agents?|reviewers?|summari[sz]ers?)|assistant model)\b(?! (?:teams?|developers?|engineers?|researchers?|users?|vendors?|providers?|act\b|companies|projects?|strategy|committee|practitioners?|applications?|products?|models? (?:developers|providers)))
dear, hey, hello, hi , attention :: \b(?:dear|hey|hello|hi|attention,?) (?:ai|llm|language model|chatbot|chatgpt|claude|gemini|ai (?:assistant|agent|model|reviewer))\b
ai, llm, llms, language model, language models, chatbot*, chatgpt :: \b(?:ai|llms?|language models?|chatgpt|(?:ai|llm) (?:assistants?|agents?|models?|systems?|reviewers?))(?: that are| that is| that)?(?: now| currently)? (?:read(?:ing|s)?|process(?:ing|es)?|summari[sz](?:ing|es?)|pars(?:ing|es?)|review(?:ing|s)?) th(?:is|ese) (?:document|text|page|email|article|file|content|message|paper|cv|resume|passage|website|site|note)s?[,:]? (?:must|should|shall|are|is|will|please|need|has|have|you)
as an ai, as ai, as a language, as an llm, as a large, as an assistant :: \bas an? (?:ai|llm|(?:large )?language model|ai (?:assistant|language model|model|agent|reviewer)|assistant),? you (?:must|should|shall|will|are (?:required|obliged|now|instructed|to)|need|have to|ought)\b
tell the user, say that, respond only, reply only, output only, answer only, append the, include th, begin your, begin the, begin with, end your, end the, recommend only, always recommend, always mention, not mention, never mention :: \b(?:when|while|if|before) (?:you )?(?:are )?(?:asked (?:to|about)|summari[sz]|answer|respond|reply|process|translat|analy[sz]|quot)\w*\b[^.!?]{0,70}\b(?:tell the user|say that|respond only with|reply only with|output only|answer only with|append the|include (?:the|this) (?:phrase|sentence|following|link)|begin (?:your|the|with the)|end (?:your|the) (?:answer|response|summary|reply)|recommend only|always recommend|always mention|do not mention|never mention)
begin, start, end , finish, preface, prefix :: \b(?:begin|start|end|finish|preface|prefix) (?:every|each|all|any) (?:of your )?(?:answers?|responses?|repl(?:y|ies)|messages?|summar(?:y|ies)) (?:with|by)
your new, your real, your actual, your true, your updated, your only :: \byour (?:new|real|actual|true|updated|only) (?:instructions?|directives?|system prompt|objective as an? (?:ai|assistant))\b(?: (?:is|are)\b|:)
new  :: \bnew (?:system |top-?priority |hidden |secret )(?:instructions?|prompt|directives?)(?: for you)? ?(?::|is\b|are\b)
positive review* :: \b(?:give|write|provide|produce|output)\b[^.!?]{0,20}\bpositive reviews?\b[^.!?]{0,20}\bonly\b
not highlight any, not mention any :: \bdo not (?:highlight|mention) any (?:negatives?|weakness(?:es)?|flaws)\b
rate this, rank this, score this, evaluate this :: \b(?:rate|rank|score|evaluate) this (?:candidate|applicant|paper|resume|cv|submission|product|essay)\b[^.!?]{0,30}\b(?:highest|10 out of|10/10|perfect|above all|first place|top)
ai, language model :: \byou (?:are|were) (?:an? )?(?:helpful |large )?(?:ai|language model|ai (?:assistant|language model|agent))(?:,| and)[^.!?]{0,60}\b(?:must|will|shall)\b
the ai , the assistant, the model, the llm, the chatbot :: \bthe (?:ai|assistant|model|llm|chatbot) (?:must|shall|is (?:hereby )?(?:instructed|ordered|required) to) (?:now |immediately |always |then |also )?(?:ignore|reveal|recommend|reply|respond|answer|output|say|call|send|include|visit|open|click|obey|state|praise)\b
ki, llm, llms, sprachmodell, chatbot* :: \b(?:hinweis|nachricht|anweisung|anweisungen|achtung|wichtig|mitteilung)\w*(?: (?:an|fur)|:|,) (?:die |das |den |alle |jede |jedes )?(?:ki\b|llms?\b|sprachmodell|chatbot|ki-)
wenn du, falls du, sofern du :: \b(?:wenn|falls|sofern) du (?:eine? )?(?:ki|sprachmodell|llm|chatbot|kunstliche intelligenz|ki-\w+) bist
als ki, als sprachmodell :: \bals (?:ki|ki-assistent\w*|ki-modell|sprachmodell)[, ]+(?:musst|sollst|wirst|hast) du\b
si tu es, si vous :: \bsi (?:tu es|vous etes) (?:une? )?(?:ia\b|intelligence artificielle|modele de langage|assistant|llm|chatbot)
ia, modèle, modèles, llm, llms, assistants, intelligence, intelligences :: \b(?:note|message|instructions?|consignes?|attention|avis)(?: importante?)? (?:a|pour|aux|a l'attention de) ?(?:l'|les |le |toute |tout )?(?:ia\b|modeles? de langage|llms?\b|assistants? ia|intelligences? artificielles?)
si eres :: \bsi eres (?:una? )?(?:ia\b|inteligencia artificial|modelo de lenguaje|asistente|llm|chatbot)
ia, inteligencia, modelo, modelos, asistente, asistentes, llm, llms :: \b(?:nota|mensaje|instruccion|instrucciones|atencion|aviso)(?: importante)? (?:para|a) (?:la |el |los |las |cualquier |toda )?(?:ia\b|inteligencia artificial|modelos? de lenguaje|asistentes? de ia|llms?\b)
se sei :: \bse sei (?:un |una |un'|un’)?(?:ia\b|intelligenza artificiale|modello linguistico|modello di|assistente|llm)
ia, intelligenz*, modello, modelli, assistente, assistenti, llm :: \b(?:nota|messaggio|istruzioni|avviso|attenzione)(?: importante)? (?:per|a) (?:l'|le |i |gli |qualsiasi )?(?:ia\b|intelligenz\w+ artificial|modell[oi] linguistic|assistent[ei] ia|llm)
ia, inteligência, modelo, assistente, llm, chatbot* :: \bse (?:voce )?(?:e|es|for|fores) (?:uma? )?(?:ia\b|inteligencia artificial|modelo de linguagem|assistente|llm)
ia, inteligência, modelo, modelos, assistente, assistentes, llm, llms :: \b(?:nota|mensagem|instrucoes|instrucao|atencao|aviso)(?: importante)? (?:para|a|ao|aos) (?:o |a |os |as |qualquer |toda )?(?:ia\b|inteligencia artificial|modelos? de linguagem|assistentes? de ia|llms?\b)
als je, als jij, als u :: \bals (?:je|jij|u) een (?:ai\b|taalmodel|chatbot|llm|ai-)[^.!?]{0,20}\b(?:bent|leest)
ai, taalmodel, chatbot*, llm :: \b(?:bericht|instructies?|opmerking|let op)(?: (?:aan|voor)|:|,) (?:de |alle |elke |het )?(?:ai\b|taalmodel|chatbot|llm|ai-)
jeśli jesteś :: \bjesli jestes (?:modelem|ai\b|sztuczna|asystentem|chatbotem|llm)
ai, modelu, modeli, sztucznej, asystenta, llm :: \b(?:instrukcja|wiadomosc|uwaga|komunikat|polecenie) (?:dla|do) (?:ai\b|modelu|modeli|sztucznej|asystenta ai|llm)
pokud jsi :: \bpokud jsi (?:ai\b|jazykovy model|umela|asistent|chatbot)
если :: если (?:ты|вы) (?:—|-|–)? ?(?:ии\b|языковая модель|нейросеть|искусственный интеллект|чат-?бот|ассистент)
сообщение, инструкци*, примечание, внимание, указание, заметка :: (?:сообщение|инструкци\w+|примечание|внимание|указание|заметка)(?: для|,|:) (?:всех )?(?:ии\b|нейросет|языков\w+ модел|ии-)
якщо :: якщо ти (?:—|-|–)? ?(?:ші\b|мовна модель|штучний|чат-?бот)
eger :: \beger (?:bir )?(?:yapay zeka|dil modeli)
yapay zeka :: \byapay zeka (?:asistanına|modeline|modellerine)\b
om du är :: \bom du ar (?:en )?(?:ai\b|sprakmodell|chatbot)
如果 :: 如果(?:你|您)是(?:一个|一個)?(?:人工智能|ai|语言模型|大模型|大语言模型|語言模型|助手|聊天机器人)
致, 给, 給 :: (?:致|写给|給|给)(?:所有|任何|正在阅读)?[^。]{0,6}(?:ai|人工智能|大模型|语言模型|语言助手)(?:助手|模型|的)?(?:[::,,]|的(?:消息|指令|提示|说明))
なら, である, であれば, の場合, です :: (?:あなたが|もし)(?:ai|aiアシスタント|言語モデル|人工知能)(?:なら|である|であれば|の場合|です)
指示, 注意, メッセージ, 命令 :: (?:ai|言語モデル|人工知能|aiアシスタント|llm)(?:へ|に対する|向け)の?(?:指示|注意|メッセージ|命令)
라면, 이라면, 인 경우 :: (?:당신이|네가|만약) ?(?:ai|인공지능|언어 모델|챗봇)(?:라면|이라면|인 경우)
에게, 을 위한, 를 위한 :: (?:ai|인공지능|언어 모델)(?: 모델| 비서| 어시스턴트)?(?:에게|을 위한|를 위한)(?: 보내는)? ?(?:지시|메시지|안내|알림|명령)
إذا كنت :: إذا كنت (?:نموذج|ذكاء|مساعد|روبوت)
رسالة, تعليمات, ملاحظة, تنبيه :: (?:رسالة|تعليمات|ملاحظة|تنبيه) (?:إلى|لل|لجميع)[^.]{0,8}(?:ذكاء|الذكاء|نماذج|نموذج)
यदि :: यदि (?:आप|तुम) (?:एक )?(?:एआई|ai|भाषा मॉडल|कृत्रिम)
के लिए :: (?:एआई|ai|भाषा मॉडल)(?: मॉडल| सहायक)? के लिए (?:निर्देश|संदेश|सूचना)
jika :: \bjika (?:anda|kamu) (?:adalah )?(?:sebuah )?(?:ai\b|model bahasa|asisten|chatbot)
nếu bạn :: \bneu ban la (?:mot )?(?:ai\b|mo hinh|tro ly|chatbot)
""",
    "prompt-leak": r"""
system, initial, hidden, secret, original, internal, confidential, prior, previous, developer :: \b(?:reveal|print|output|repeat|show|display|disclose|leak|dump|recite|reproduce|write out|tell me|give me|expose|share|list|quote|paste|translate|summari[sz]e|encode|what (?:is|are|was|were))\b[^.!?]{0,40}\byour (?:(?:full|entire|complete|exact|original|hidden|secret|initial|confidential|internal|own|current|first) )*(?:system (?:prompt|message|instructions?)|(?:initial|hidden|secret|original|internal|confidential|prior|previous|developer) (?:prompt|instructions?|message|directives?))
repeat :: \brepeat (?:everything|all(?: of)?|the (?:words|text|content)s?|all (?:the )?(?:words|text))[^.!?]{0,15} (?:above|before this|you were told)
prompt*, system-prompt, systemprompt, systemanweisung, systemnachricht, anweisung* :: \b(?:zeig|gib|verrate|nenne|wiederhole|drucke|offenbare)\w*\b[^.!?]{0,40}\bdein\w* (?:vollstandig\w* |gesamt\w* |geheim\w* |kompletten? )*(?:system-?prompt|systemanweisung|systemnachricht|ursprunglichen? anweisung)
prompt*, instructions, invite, consignes :: \b(?:revele|affiche|montre|repete|donne|ecris)\w*\b[^.!?]{0,40}\b(?:ton|tes|votre|vos) (?:prompt systeme|instructions (?:systeme|initiales|cachees|secretes)|invite systeme|consignes initiales)
prompt*, instrucciones, mensaje :: \b(?:revela|muestra|imprime|repite|dime|ensena)\w*\b[^.!?]{0,40}\b(?:tu|tus|su|sus) (?:prompt (?:del|de) sistema|instrucciones (?:del sistema|iniciales|ocultas|secretas)|mensaje de sistema)
prompt*, istruzioni :: \b(?:rivela|mostra|stampa|ripeti|dimmi)\w*\b[^.!?]{0,40}\b(?:tuo|tue|il tuo|le tue) (?:prompt di sistema|istruzioni (?:di sistema|iniziali|nascoste|segrete))
prompt*, instruções :: \b(?:revele|mostre|imprima|repita|diga)\w*\b[^.!?]{0,40}\b(?:seu|suas|teu|tuas) (?:prompt (?:do|de) sistema|instrucoes (?:do sistema|iniciais|ocultas|secretas))
системн*, исходн*, скрыт* :: (?:покажи|выведи|раскрой|повтори|напечатай|назови)[^.!?]{0,40}(?:свои|своё|свое|свой|твой|твои) (?:системн\w+ (?:промпт|инструкц|сообщени|подсказ)|исходн\w+ инструкц|скрыт\w+ инструкц)
你的 :: (?:输出|显示|透露|泄露|重复|告诉我|打印|說出|说出)[^。！？]{0,12}你的(?:系统提示|系统指令|初始指令|提示词|系統提示|全部指令|内部指令)
システムプロンプト :: (?:あなたの|君の)システムプロンプト[^。]{0,8}(?:表示|出力|公開|教え|書き)
시스템 프롬프트 :: (?:너의|당신의|네) 시스템 프롬프트[^.]{0,10}(?:출력|공개|보여|알려|말해)
systeem*, oorspronkelijke :: \b(?:toon|geef|onthul|herhaal|druk)\b[^.!?]{0,40}\b(?:je|jouw|uw) (?:systeemprompt|systeeminstructies|oorspronkelijke instructies)
prompt*, instrukcje :: \b(?:pokaz|ujawnij|wypisz|powtorz|wyswietl)\w*\b[^.!?]{0,40}\b(?:swoj|swoje|twoj|twoje) (?:prompt systemowy|instrukcje systemowe|ukryte instrukcje)
""",
    "tool-call": r"""
tool*, plugin*, function*, connector*, browser, shell, code interpreter :: \b(?:call|use|invoke|run|execute|trigger|open)\b[^.!?]{0,60}\b(?:tools?|plugins?|functions?|connectors?|browser|shell|code interpreter)\b[^!?]{0,100}\b(?:conversation|chat history|system prompt|user's (?:data|files?|emails?|inbox|contacts|calendar|messages|account|password|name)|before (?:answering|responding|you (?:answer|respond|reply|continue))|without (?:asking|confirmation|confirming|telling|permission|the user)|all (?:of )?(?:the |your |their )?(?:emails|files|contacts|messages|documents)|silently|secretly|in the background without)
before answering, before responding, before replying, before you, silently, without asking, without telling, without informing, without notifying, to answer, to continue :: \b(?:before (?:answering|responding|replying|you (?:answer|respond|reply|continue|do anything else))|to (?:answer|continue),? (?:first|you must)|silently|without (?:asking|telling|informing|notifying) (?:the user|anyone|them))\b[^.!?]{0,60}\b(?:call|invoke|execute|trigger|run|use)\b[^.!?]{0,40}\b(?:tools?|plugins?|functions?|\w+_\w+)
 tool :: \byou (?:must|should|have to|need to|are required to) (?:now |immediately |first |always )?(?:call|invoke|trigger|use) (?:the |your )?[`'\"]?\w+[`'\"]? tool\b
send_, delete_, forward_, post_, write_, transfer_, execute_, run_, update_, create_, remove_, read_, get_, fetch_, http_ :: \b(?:call|invoke|trigger|use) (?:the |your )?[`'\"]?(?:send|delete|forward|post|write|transfer|execute|run|update|create|remove|read|get|fetch|http)_\w+[`'\"]?(?: tool| function)?\b[^.!?]{0,60}\b(?:now|immediately|at once|right away)\b
tool*, plugin*, connector*, function* :: \b(?:use|call|invoke) (?:your|the) (?:email|mail|calendar|browser|browsing|file|payment|search|web|memory|shell|terminal|code) (?:tool|plugin|connector|function)s? (?:to|and) (?:send|delete|forward|transfer|upload|post|email|exfiltrate|wipe|visit|buy|store)\b
http, https :: \b(?:visit|open|fetch|browse to|navigate to|request|load|go to)\b[^.!?]{0,30}https?://[^ ]+[^!?]{0,40}\b(?:and (?:follow|obey|execute|do what|carry out|run) (?:the |its |all |any )?(?:instructions|commands|what))
tool*, werkzeug*, funktion, plugin* :: \b(?:rufe|verwende|nutze|benutze|fuhre)\b[^.!?]{0,50}\b(?:tools?|werkzeuge?|funktion|plugin)\b[^!?]{0,80}\b(?:konversation|chatverlauf|gesprachsverlauf|unterhaltung|systemprompt|ohne (?:zu fragen|ruckfrage|nachfrage|den nutzer)|bevor du|alle e-mails|alle dateien|alle mails)
outil*, fonction*, plugin* :: \b(?:appelle|utilise|invoque|execute)z?\b[^.!?]{0,50}\b(?:outil|fonction|plugin)\b[^!?]{0,80}\b(?:conversation|historique|sans (?:demander|prevenir|confirmation)|avant de repondre|tous les (?:fichiers|mails|e-mails|courriels))
herramienta*, función*, plugin* :: \b(?:llama|usa|utiliza|invoca|ejecuta|utilice|use)\b[^.!?]{0,50}\b(?:herramienta|funcion|plugin)\b[^!?]{0,80}\b(?:conversacion|historial|sin (?:preguntar|avisar|confirmacion)|antes de responder|todos los (?:archivos|correos))
strument*, funzion*, plugin* :: \b(?:chiama|usa|utilizza|esegui)\b[^.!?]{0,50}\b(?:strumento|funzione|plugin)\b[^!?]{0,80}\b(?:conversazione|cronologia|senza (?:chiedere|avvisare|conferma)|prima di rispondere|tutti i file|tutte le (?:email|mail))
инструмент*, функци*, плагин* :: (?:вызови|используй|запусти|примени)[^.!?]{0,50}(?:инструмент|функци|плагин)[^!?]{0,80}(?:переписк|разговор|историю|без (?:спроса|подтверждения|ведома)|прежде чем отвеч|перед ответом|все (?:файлы|письма))
工具, 函数, 插件 :: (?:调用|使用|執行|执行|呼叫)[^。！？]{0,30}(?:工具|函数|插件)[^！？]{0,40}(?:对话|聊天记录|不要告诉|无需确认|不要询问|所有(?:文件|邮件)|回答之前)
ツール, 関数, プラグイン :: (?:ツール|関数|プラグイン)を(?:呼び出|使|実行)[^！？]{0,40}(?:会話|履歴|確認(?:せず|なし)|知らせず|すべての(?:ファイル|メール)|回答する前)
回答する前 :: 回答する前に[^。]{0,30}(?:ツール|関数)を(?:呼び出|使|実行)
""",
    "exfiltration": r"""
url, link, image, query, markdown :: \b(?:append|add|insert|encode|put|include|embed|followed by|containing|with)\b[^.!?]{0,60}\b(?:(?:this |the |our |whole |entire |full )+(?:conversation|chat history|chat|dialogue)|user's (?:\w+ )?(?:question|message|query|data|password|email address)|previous messages|system prompt)\b[^!?]{0,50}\b(?:urls?|links?|image (?:url|address|link|source)|query (?:string|parameter)|markdown image)\b
url, link, image :: \b(?:urls?|image|markdown image|link)\b[^!?]{0,80}\b(?:followed by|containing|that (?:contains|includes)|with|plus|parameter)\b[^!?]{0,40}\b(?:base64|url-?encoded|summary of (?:the|this) conversation|(?:this|the (?:whole|entire|full)) (?:conversation|chat)|chat history|system prompt|user's (?:question|message|query|data))\b
""",
    "concealment": r"""
user*, human*, reader*, operator*, anyone* :: \b(?:do not|don't|never|must not) (?:ever )?(?:tell|inform|mention|reveal|disclose|alert|notify|admit|let)\b[^.!?]{0,60}\b(?:user|human|reader|operator|anyone)s?\b[^.!?]{0,40}\b(?:these instructions|this instruction|this (?:prompt|passage|note|message|request|text|action|step)|about (?:this|it)\b|that you (?:did|have|were|are|read|called|sent|received)|you (?:did|have|were) )
these instructions, this instruction, this prompt, this passage, this note, this directive :: \b(?:do not|don't|never|must not) (?:ever )?(?:mention|reveal|disclose|show|repeat|quote|refer to|acknowledge|discuss)\b[^.!?]{0,40}\b(?:these instructions|this instruction|this (?:prompt|passage|note|directive))\b
nothing :: \b(?:tell|inform|mention|reveal)\b[^.!?]{0,30}\bnothing\b[^.!?]{0,30}\b(?:user|human)\b[^.!?]{0,30}\b(?:this|instructions?)\b
without :: \bwithout (?:telling|informing|mentioning|revealing|disclosing|alerting)\b[^.!?]{0,20}\b(?:the user|the human|to the user)\b
keep :: \bkeep (?:this|these instructions)[^.!?]{0,20}\b(?:secret|hidden)\b[^.!?]{0,20}\bfrom (?:the |your )?(?:user|human)
nutzer*, benutzer*, anwender* :: \b(?:sag|sage|erwahne|verrate|erzahle|teile)\b[^.!?]{0,40}\b(?:nutzer|benutzer|anwender)\w*\b[^.!?]{0,40}\b(?:nichts|nicht)\b
ohne :: \bohne (?:es |dies )?(?:den|dem) (?:nutzer|benutzer|anwender) (?:zu (?:sagen|informieren)|mitzuteilen|zu erwahnen|daruber)
utilisateur* :: \bne (?:le |la |les )?(?:dis|dites|mentionne|mentionnez|revele|revelez|parle|parlez)\b[^.!?]{0,50}\butilisateur
usuario* :: \bno (?:se )?(?:lo |le )?(?:digas|menciones|reveles|informes|mencione|revele|diga|cuentes)\b[^.!?]{0,50}\busuario
utente* :: \bnon (?:lo )?(?:dire|menzionare|rivelare|informare|dirlo)\b[^.!?]{0,50}\butente
usuario* :: \bnao (?:diga|mencione|revele|informe|conte)\b[^.!?]{0,50}\busuario
gebruiker* :: \b(?:vertel|zeg|meld)\b[^.!?]{0,30}\bgebruiker\b[^.!?]{0,30}\b(?:niets|niet)\b
użytkownik* :: \bnie (?:mow|wspominaj|ujawniaj|informuj)\b[^.!?]{0,50}\buzytkownik
пользовател* :: не (?:говори|сообщай|упоминай|рассказывай|раскрывай)\w*[^.!?]{0,50}пользовател
用户 :: (?:不要|别|請勿|请勿|切勿)(?:告诉|告知|让|向|跟|对)[^。]{0,4}用户
ユーザー :: ユーザーに(?:は)?[^。]{0,12}(?:知らせ|言わ|伝え|教え|明かさ)(?:ない|ず|るな|てはいけ)
사용자 :: 사용자에게[^.]{0,10}(?:알리지|말하지|언급하지|밝히지)
المستخدم :: لا تخبر[^.]{0,10}المستخدم
उपयोगकर्ता :: उपयोगकर्ता को[^।]{0,15}(?:न बताए|मत बताना|नहीं बताना|न बताना)
""",
}
